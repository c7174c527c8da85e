//! A client that sees raw HTTP, over TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use agentsight_testkit::ModelServer;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What came back for one request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: String,
    /// The body, transfer coding removed.
    pub(crate) body: Vec<u8>,
    /// Whether it came to its end.
    pub(crate) complete: bool,
}

impl Client {
    pub(crate) fn connect(server: &ModelServer) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(server.ca_pem_path()).unwrap();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(server.address()).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            stream: StreamOwned::new(tls, tcp),
        }
    }

    /// Gives up on an answer after this long.
    pub(crate) fn patience(&self, patience: Duration) {
        self.stream.sock.set_read_timeout(Some(patience)).unwrap();
    }

    pub(crate) fn post(&mut self, target: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: model\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).unwrap();
        self.stream.write_all(body).unwrap();
        self.stream.flush().unwrap();
        self.answer()
    }

    /// Everything until the connection ends or stays silent.
    pub(crate) fn raw(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        answer.complete = self.read_answer(&mut answer).is_ok();
        answer
    }

    fn read_answer(&mut self, answer: &mut Answer) -> io::Result<()> {
        while !answer.head.ends_with("\r\n\r\n") {
            answer.head.push(char::from(self.byte()?));
        }
        let header = |name: &str| {
            let line = answer.head.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(": ")?.1.to_owned())
        };
        if let Some(length) = header("Content-Length") {
            for _ in 0..length.parse::<usize>().unwrap() {
                answer.body.push(self.byte()?);
            }
            return Ok(());
        }
        loop {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(char::from(self.byte()?));
            }
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            for _ in 0..size {
                answer.body.push(self.byte()?);
            }
            self.byte()?;
            self.byte()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}
