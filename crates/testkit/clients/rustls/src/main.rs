//! Posts files over TLS. usage: `post one|many|crossed URL CA_PEM BODY_FILE...`
//!
//! `one` has a connection over each provider that is built in, and takes them in turn. `many` has a connection a
//! file. `crossed` posts two files at a time: what the first connection has sealed is written only when the
//! second one is done, as where a socket is full.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Bytes of a body that are sealed and not written: less than rustls' own limit.
const SEALED_BYTES: usize = 40_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url, ca_pem, files @ ..] = arguments.as_slice() else {
        return Err("usage: post one|many|crossed URL CA_PEM BODY_FILE...".into());
    };
    let address = url.trim_start_matches("https://");
    let configs = configs(ca_pem)?;
    if mode == "crossed" {
        return crossed(address, &configs, files);
    }
    let mut open: Vec<Option<Stream>> = configs.iter().map(|_| None).collect();
    for (number, file) in files.iter().enumerate() {
        let turn = number % configs.len();
        let stream = match (&mut open[turn], mode.as_str()) {
            (Some(stream), "one") => stream,
            (slot, _) => slot.insert(connect(address, &configs[turn])?),
        };
        exchange(stream, address, &std::fs::read(file)?)?;
        if mode == "many" {
            close(stream)?;
        }
    }
    Ok(())
}

/// One for each provider.
fn configs(ca_pem: &str) -> Result<Vec<Arc<ClientConfig>>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_pem)?)?;
    let providers = [
        #[cfg(feature = "ring")]
        rustls::crypto::ring::default_provider(),
        #[cfg(feature = "aws-lc-rs")]
        rustls::crypto::aws_lc_rs::default_provider(),
    ];
    let mut configs = Vec::new();
    for provider in providers {
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        configs.push(Arc::new(config));
    }
    Ok(configs)
}

fn crossed(
    address: &str,
    configs: &[Arc<ClientConfig>],
    files: &[String],
) -> Result<(), Box<dyn Error>> {
    for (number, pair) in files.chunks_exact(2).enumerate() {
        let config = &configs[number % configs.len()];
        let (mut first, mut second) = (connect(address, config)?, connect(address, config)?);
        first.conn.complete_io(&mut first.sock)?;
        let body = std::fs::read(&pair[0])?;
        let (now, later) = body.split_at(body.len().min(SEALED_BYTES));
        first.conn.writer().write_all(&head(address, &body))?;
        first.conn.writer().write_all(now)?;
        exchange(&mut second, address, &std::fs::read(&pair[1])?)?;
        first.write_all(later)?;
        first.flush()?;
        read_answer(&mut first)?;
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

fn head(address: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    head.into_bytes()
}

/// Posts the body and reads the answer.
fn exchange(stream: &mut Stream, address: &str, body: &[u8]) -> Result<(), Box<dyn Error>> {
    stream.write_all(&head(address, body))?;
    stream.write_all(body)?;
    stream.flush()?;
    read_answer(stream)
}

/// Reads an answer, whose length is known or which is in chunks.
fn read_answer(stream: &mut Stream) -> Result<(), Box<dyn Error>> {
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
