//! A key of a security key (FIDO), which the agent speaks for. The agent here has no hardware, only its arithmetic.

use std::path::Path;

use russh::keys::PrivateKey;
use russh::keys::PublicKey;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::Fixture;
use super::server::{Behaviour, new_key};

const KIND: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";
/// Somebody has touched it, for the seventh time.
const FLAGS: u8 = 1;
const COUNTER: u32 = 7;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Takes a string off the beginning.
fn take(bytes: &mut &[u8]) -> Vec<u8> {
    let (length, rest) = bytes.split_at(4);
    let (string, rest) = rest.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
    *bytes = rest;
    string.to_vec()
}

/// Answers as draft-miller-ssh-agent and OpenSSH's PROTOCOL.u2f say.
async fn answer(mut stream: UnixStream, key: PrivateKey) {
    let KeypairData::Ed25519(pair) = key.key_data() else { unreachable!() };
    while let Ok(length) = stream.read_u32().await {
        let mut asked = vec![0; length as usize];
        stream.read_exact(&mut asked).await.unwrap();
        let reply = match asked[0] {
            11 => {
                let blob = [string(KIND), string(&pair.public.0), string(APPLICATION)].concat();
                [vec![12, 0, 0, 0, 1], string(&blob), string(b"a token")].concat()
            }
            13 => {
                let mut rest = &asked[1..];
                let (_, message) = (take(&mut rest), take(&mut rest));
                let digest = |bytes: &[u8]| Sha256::digest(bytes).to_vec();
                let signed =
                    [digest(APPLICATION), vec![FLAGS], COUNTER.to_be_bytes().to_vec(), digest(&message)].concat();
                let signature = pair.try_sign(&signed).unwrap();
                let signature =
                    [string(KIND), string(signature.as_bytes()), vec![FLAGS], COUNTER.to_be_bytes().to_vec()];
                [vec![14], string(&signature.concat())].concat()
            }
            _ => vec![5],
        };
        stream.write_all(&string(&reply)).await.unwrap();
    }
}

fn agent(socket: &Path, key: &PrivateKey) -> JoinSet<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let key = key.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, key.clone()).await;
        }
    });
    tasks
}

#[tokio::test]
async fn the_agent_signs_with_a_security_key() {
    let key = new_key();
    let KeypairData::Ed25519(pair) = key.key_data() else { unreachable!() };
    let public = SkEd25519::new(Ed25519PublicKey(pair.public.0), "ssh:");
    let public = PublicKey::from(KeyData::SkEd25519(public));
    let mut fixture = Fixture::new(Behaviour::opened_by(vec![public])).await;
    fixture.target.identity.clear();
    let socket = fixture.path("agent");
    let _agent = agent(&socket, &key);
    fixture.credentials.agent = Some(socket);
    fixture.connect().await.unwrap();
}
