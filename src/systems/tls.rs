//! TLS towards the systems: verified against this machine's authorities or the ones that are named.

use super::Trouble;
use crate::journal::hex;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use std::{
    error::Error,
    sync::{Arc, Mutex},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

/// How much of a certificate is verified; there is no less than its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    Full,
    /// The authority, not the name.
    Authority,
}

/// What a connection is secured with.
#[derive(Clone, Debug, Default)]
pub struct Material<'a> {
    pub ca: Option<&'a str>,
    pub cert: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// The SHA-256 of the certificate that the other side showed, once it has.
pub type Shown = Arc<Mutex<Option<String>>>;

/// Makes ring the one provider of cryptography; later calls change nothing.
pub fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client's side of TLS.
pub fn client(material: &Material<'_>, verify: Verify) -> Result<(ClientConfig, Shown), Trouble> {
    install();
    let shown: Shown = Arc::default();
    let named = match material.ca {
        Some(file) => certificates(file)?,
        None => Vec::new(),
    };
    let roots = Arc::new(roots(material.ca)?);
    let inner = WebPkiServerVerifier::builder(roots)
        .build()
        .map_err(|e| Trouble::cannot_tell(e.to_string(), "name the authority under `ca:`"))?;
    let verifier = Arc::new(Verifier {
        inner,
        named,
        verify,
        shown: shown.clone(),
    });
    let config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (material.cert, material.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            config.with_client_auth_cert(chain, key).map_err(|e| {
                Trouble::cannot_tell(e.to_string(), "do `cert:` and `key:` belong together?")
            })?
        }
        _ => config.with_no_client_auth(),
    };
    Ok((config, shown))
}

fn roots(ca: Option<&str>) -> Result<RootCertStore, Trouble> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| unreadable(file, &e))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(Trouble::cannot_tell(
            "this machine trusts no authorities",
            "install ca-certificates, or name the authority under `ca:`",
        ));
    }
    Ok(roots)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|e| unreadable(file, &e))?
        .collect();
    let all = all.map_err(|e| unreadable(file, &e))?;
    if all.is_empty() {
        return Err(Trouble::cannot_tell(
            format!("no certificate stands in {file}"),
            "a PEM file begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(all)
}

fn unreadable(file: &str, error: &dyn Error) -> Trouble {
    Trouble::cannot_tell(
        format!("cannot read {file}: {error}"),
        "is the path right, and may you read it?",
    )
}

/// The verification of webpki, remembering what was shown; without the name where only the authority
/// is asked for.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// The certificates of `ca:`: a server may show one of these itself, as self-signed ones do.
    named: Vec<CertificateDer<'static>>,
    verify: Verify,
    shown: Shown,
}

impl Verifier {
    /// The very certificate that a person named: trusted, but still for its name and its time only.
    fn verify_named(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let bad = |fault| Err(rustls::Error::InvalidCertificate(fault));
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(end_entity) else {
            return bad(CertificateError::BadEncoding);
        };
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if at > parsed.validity().not_after.timestamp() {
            return bad(CertificateError::Expired);
        }
        if at < parsed.validity().not_before.timestamp() {
            return bad(CertificateError::NotValidYet);
        }
        if self.verify == Verify::Full && !names(&parsed, server_name) {
            return bad(CertificateError::NotValidForName);
        }
        Ok(ServerCertVerified::assertion())
    }
}

/// Is the certificate for this name? By its alternative names only, as everywhere else.
fn names(certificate: &X509Certificate<'_>, server_name: &ServerName<'_>) -> bool {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let Some(alternatives) = alternatives else {
        return false;
    };
    alternatives
        .value
        .general_names
        .iter()
        .any(|name| match (name, server_name) {
            (GeneralName::DNSName(pattern), ServerName::DnsName(wanted)) => {
                let wanted = wanted.as_ref().to_ascii_lowercase();
                let pattern = pattern.to_ascii_lowercase();
                match pattern.strip_prefix("*.") {
                    Some(parent) => wanted
                        .split_once('.')
                        .is_some_and(|(_, rest)| rest == parent),
                    None => wanted == pattern,
                }
            }
            (GeneralName::IPAddress(bytes), ServerName::IpAddress(wanted)) => {
                match std::net::IpAddr::from(*wanted) {
                    std::net::IpAddr::V4(ip) => *bytes == ip.octets(),
                    std::net::IpAddr::V6(ip) => *bytes == ip.octets(),
                }
            }
            _ => false,
        })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut shown) = self.shown.lock() {
            *shown = Some(hex(&Sha256::digest(end_entity)));
        }
        if self.named.iter().any(|c| c.as_ref() == end_entity.as_ref()) {
            return self.verify_named(end_entity, server_name, now);
        }
        let verified =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Authority => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The certificate's fault in words, when that is what stands at the bottom of an error.
pub fn fault(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(describe(tls));
    }
    // An io::Error hides what it wraps from `source`.
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .and_then(|inner| fault(inner));
    wrapped.or_else(|| error.source().and_then(fault))
}

fn describe(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(fault) = error else {
        return error.to_string();
    };
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is this machine's clock right?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted here".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
