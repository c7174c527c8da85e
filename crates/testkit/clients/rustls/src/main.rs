//! Posts files over TLS. usage: `post one|many URL CA_PEM BODY_FILE...`

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as provider;

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url, ca_pem, files @ ..] = arguments.as_slice() else {
        return Err("usage: post one|many URL CA_PEM BODY_FILE...".into());
    };
    let address = url.trim_start_matches("https://");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_pem)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let mut open: Option<Stream> = None;
    for file in files {
        let stream = match (&mut open, mode.as_str()) {
            (Some(stream), "one") => stream,
            _ => open.insert(connect(address, &config)?),
        };
        exchange(stream, address, &std::fs::read(file)?)?;
        if mode == "many" {
            close(stream)?;
        }
    }
    Ok(())
}

fn connect(address: &str, config: &Arc<ClientConfig>) -> Result<Stream, Box<dyn Error>> {
    let host = address.rsplit_once(':').ok_or("no port")?.0.to_owned();
    let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from(host)?)?;
    Ok(StreamOwned::new(connection, TcpStream::connect(address)?))
}

fn close(stream: &mut Stream) -> Result<(), Box<dyn Error>> {
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// Posts the body and reads the answer, whose length is known or which is in chunks.
fn exchange(stream: &mut Stream, address: &str, body: &[u8]) -> Result<(), Box<dyn Error>> {
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let body_at = loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("the answer ends in its head".into());
        }
        answer.extend_from_slice(&piece[..count]);
    };
    let head = String::from_utf8_lossy(&answer[..body_at]).to_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(head.into());
    }
    let length: Option<usize> = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse().ok());
    let is_whole = |answer: &[u8]| match length {
        Some(length) => answer.len() >= body_at + length,
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    };
    while !is_whole(&answer) {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("the answer ends in its body".into());
        }
        answer.extend_from_slice(&piece[..count]);
    }
    Ok(())
}
