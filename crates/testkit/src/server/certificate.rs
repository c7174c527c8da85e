//! Certificates, made at run time: nothing that could be trusted by mistake lies in a repository.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use crate::TestkitError;

/// Data that a client may send with its first message, when it comes again.
const EARLY_DATA_BYTES: u32 = 1 << 14;

/// A server's side of TLS, and what a client must trust.
pub(super) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    pub(super) ca_pem: String,
}

/// Makes an authority and a certificate of it for `127.0.0.1` and `localhost`. The authority's key is
/// forgotten at once.
pub(super) fn make() -> Result<Identity, TestkitError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "AgentSight test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL's strict mode, the default of newer Pythons, asks for this.
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "scripted model");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;

    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = EARLY_DATA_BYTES;
    Ok(Identity {
        config: Arc::new(config),
        ca_pem: authority.pem(),
    })
}

/// Puts the authority into a file in a folder of its own. Both can be read by anyone, as the client often
/// runs as another user than the server.
pub(super) fn publish(ca_pem: &str) -> Result<(TempDir, PathBuf), TestkitError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TestkitError::Write { path, source }
    };
    let folder = tempfile::Builder::new()
        .prefix("agentsight-testkit-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .map_err(failed(&std::env::temp_dir()))?;
    let path = folder.path().join("ca.pem");
    fs::write(&path, ca_pem).map_err(failed(&path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(failed(&path))?;
    Ok((folder, path))
}
