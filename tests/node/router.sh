# A home behind a router, in a network namespace of its own: miniupnpd ($2) with its files in $1.
set -e
export PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up
ip link add wan type veth peer name provider
ip link add lan type veth peer name cable
for link in wan provider lan cable; do ip link set "$link" up; done
# An address that is public: a router whose own is private does not forward.
ip addr add 52.1.2.3/24 dev wan
ip addr add 10.77.0.1/24 dev lan
ip route add 239.0.0.0/8 dev lan
nft -f - <<EOF
table inet router {
  chain forward { type filter hook forward priority 0; policy accept; jump upnp_forward; }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump upnp_in; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump upnp_out; }
  chain upnp_forward { }
  chain upnp_in { }
  chain upnp_out { }
}
EOF
cat > "$1/router.conf" <<EOF
ext_ifname=wan
listening_ip=lan
port=0
enable_natpmp=no
enable_upnp=yes
upnp_table_name=router
upnp_nat_table_name=router
upnp_forward_chain=upnp_forward
upnp_nat_chain=upnp_in
upnp_nat_postrouting_chain=upnp_out
uuid=4ab005a8-74f9-43a3-970d-23bc4a36f3de
allow 1024-65535 0.0.0.0/0 1024-65535
EOF
exec "$2" -d -f "$1/router.conf" -P "$1/router.pid"
