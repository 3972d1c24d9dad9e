# A home with a router, in a network namespace of its own. The router is miniupnpd ($2), with its files in $1,
# in a further namespace: that of the process that this becomes.
set -e
export PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up
ip link add cable type veth peer name lan
home=$(readlink "/proc/$$/ns/net")
(
  until [ "$(readlink "/proc/$$/ns/net")" != "$home" ]; do sleep 0.02; done
  ip link set lan netns "$$"
  ip link set cable up
  ip addr add 10.77.0.2/24 dev cable
  ip route add default via 10.77.0.1
) &
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
cat > "$1/rules" <<EOF
table inet router {
  chain forward { type filter hook forward priority 0; policy accept; jump upnp_forward; }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump upnp_in; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump upnp_out; }
  chain upnp_forward { }
  chain upnp_in { }
  chain upnp_out { }
}
EOF
# Its own address is public: a router whose address is private does not forward.
exec unshare --net sh -ec '
  until ip link show lan >/dev/null 2>&1; do sleep 0.02; done
  ip link set lo up
  ip link add wan type veth peer name provider
  for link in wan provider lan; do ip link set "$link" up; done
  ip addr add 52.1.2.3/24 dev wan
  ip addr add 10.77.0.1/24 dev lan
  ip route add 239.0.0.0/8 dev lan
  nft -f "$1/rules"
  exec "$2" -d -f "$1/router.conf" -P "$1/router.pid"
' inside "$1" "$2"
