//! The SOCKS5 server that our engine dials out through (RFC 1928, RFC 1929): CONNECT only, and only
//! with the user and password of this process, so that other users of the machine stay out.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VERSION: u8 = 5;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The connection stands.
    Succeeded = 0,
    /// Our rules forbid it.
    NotAllowed = 2,
    /// The host does not answer.
    HostUnreachable = 4,
    /// The host refuses.
    Refused = 5,
    /// Not CONNECT.
    CommandNotSupported = 7,
}

/// Why a client was turned away.
#[derive(Debug, Error)]
pub enum SocksError {
    /// The socket failed.
    #[error("the SOCKS client's connection failed: {0}")]
    Io(#[from] io::Error),
    /// Not SOCKS5 with user and password.
    #[error("the SOCKS client does not offer user and password")]
    NoMethod,
    /// Wrong user or password: another user of this machine, likely.
    #[error("the SOCKS client gave a wrong user or password")]
    WrongPassword,
    /// A command other than CONNECT, or an address form nobody knows.
    #[error("the SOCKS client wants {0}, which is not supported")]
    NotSupported(&'static str),
    /// A name without an address.
    #[error("{0:?} has no address")]
    UnknownHost(String),
}

/// User and password of this process.
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// From random bytes.
    #[must_use]
    pub fn new(random: [u8; 24]) -> Self {
        let text = hex::encode(random);
        let (user, password) = text.split_at(16);
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The URL for a client on this machine.
    #[must_use]
    pub fn url(&self, address: SocketAddr) -> String {
        format!("socks5://{}:{}@{address}", self.user, self.password)
    }

    fn fits(&self, user: &[u8], password: &[u8]) -> bool {
        let user = self.user.as_bytes().ct_eq(user);
        let password = self.password.as_bytes().ct_eq(password);
        (user & password).into()
    }
}

/// Greets a client and learns where it wants to go.
///
/// # Errors
/// [`SocksError`]; the client has been told, and is to be hung up on.
pub async fn greet(client: &mut TcpStream, login: &Login) -> Result<SocketAddr, SocksError> {
    let [version, methods] = read(client).await?;
    let mut offered = vec![0; usize::from(methods)];
    client.read_exact(&mut offered).await?;
    if version != VERSION || !offered.contains(&USER_AND_PASSWORD) {
        client.write_all(&[VERSION, NO_METHOD]).await?;
        return Err(SocksError::NoMethod);
    }
    client.write_all(&[VERSION, USER_AND_PASSWORD]).await?;
    let [_, user_bytes] = read(client).await?;
    let mut user = vec![0; usize::from(user_bytes)];
    client.read_exact(&mut user).await?;
    let [password_bytes] = read(client).await?;
    let mut password = vec![0; usize::from(password_bytes)];
    client.read_exact(&mut password).await?;
    if !login.fits(&user, &password) {
        client.write_all(&[1, 1]).await?;
        return Err(SocksError::WrongPassword);
    }
    client.write_all(&[1, 0]).await?;
    let [_, command, _, form] = read(client).await?;
    let target = target(client, form).await?;
    if command != CONNECT {
        answer(client, Reply::CommandNotSupported).await?;
        return Err(SocksError::NotSupported("a command other than CONNECT"));
    }
    match target {
        Ok(address) => Ok(address),
        Err(name) => {
            answer(client, Reply::HostUnreachable).await?;
            Err(SocksError::UnknownHost(name))
        }
    }
}

/// The address asked for, or the name that has none.
async fn target(
    client: &mut TcpStream,
    form: u8,
) -> Result<Result<SocketAddr, String>, SocksError> {
    let address = match form {
        1 => {
            let octets: [u8; 4] = read(client).await?;
            let port = u16::from_be_bytes(read(client).await?);
            SocketAddr::from((Ipv4Addr::from(octets), port))
        }
        4 => {
            let octets: [u8; 16] = read(client).await?;
            let port = u16::from_be_bytes(read(client).await?);
            SocketAddr::from((Ipv6Addr::from(octets), port))
        }
        3 => {
            let [length] = read(client).await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            let port = u16::from_be_bytes(read(client).await?);
            let name = String::from_utf8_lossy(&name).into_owned();
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            return Ok(found.ok().and_then(|mut all| all.next()).ok_or(name));
        }
        _ => return Err(SocksError::NotSupported("an unknown form of address")),
    };
    Ok(Ok(address))
}

/// Tells the client how it went.
///
/// # Errors
/// What the socket says.
pub async fn answer(client: &mut TcpStream, reply: Reply) -> io::Result<()> {
    let bound = [0u8; 6];
    let mut out = vec![VERSION, reply as u8, 0, 1];
    out.extend_from_slice(&bound);
    client.write_all(&out).await
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn try_with(request: &'static [u8]) -> (Result<SocketAddr, SocksError>, Vec<u8>) {
        let login = Login {
            user: "u".to_owned(),
            password: "pw".to_owned(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("address");
        let client = tokio::spawn(async move {
            let mut client = TcpStream::connect(address).await.expect("connects");
            client.write_all(request).await.expect("writes");
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.expect("reads");
            told
        });
        let (mut server, _) = listener.accept().await.expect("accepts");
        let outcome = greet(&mut server, &login).await;
        drop(server);
        (outcome, client.await.expect("ends"))
    }

    #[tokio::test]
    async fn the_right_password_leads_to_the_address_asked_for() {
        let (outcome, told) =
            try_with(b"\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x01\x01\x02\x03\x04\x1a\xe1")
                .await;
        assert_eq!(outcome.expect("greets").to_string(), "1.2.3.4:6881");
        assert_eq!(told, [5, 2, 1, 0]);
    }

    #[tokio::test]
    async fn a_wrong_password_and_none_at_all_are_turned_away() {
        let (outcome, told) = try_with(b"\x05\x01\x02\x01\x01u\x02px").await;
        assert!(matches!(outcome, Err(SocksError::WrongPassword)));
        assert_eq!(told, [5, 2, 1, 1]);
        let (outcome, told) = try_with(b"\x05\x01\x00").await;
        assert!(matches!(outcome, Err(SocksError::NoMethod)));
        assert_eq!(told, [5, 0xff]);
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let (outcome, _) =
            try_with(b"\x05\x01\x02\x01\x01u\x02pw\x05\x01\x00\x03\x09localhost\x00\x50").await;
        assert_eq!(outcome.expect("greets").port(), 80);
    }
}
