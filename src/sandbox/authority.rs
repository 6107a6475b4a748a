//! The authorities of a sandbox: one for its servers, one for its agents.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{io, net::IpAddr, sync::Arc};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its chain, and its key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Self { issuer })
    }

    pub(crate) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for these names; an address is known as one.
    pub(crate) fn sign(&self, names: &[&str]) -> io::Result<Pair> {
        let mut params = CertificateParams::default();
        let first = names.first().copied().unwrap_or("sandbox");
        params.distinguished_name.push(DnType::CommonName, first);
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().map_err(io::Error::other)?),
            });
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let day = chrono::Duration::days(1);
        let date = |at: chrono::DateTime<chrono::Utc>| {
            use chrono::Datelike;
            rcgen::date_time_ymd(at.year(), at.month() as u8, at.day() as u8)
        };
        let now = crate::clock::now();
        (params.not_before, params.not_after) = (date(now - day), date(now + day * 90));
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let signed = params
            .signed_by(&key, &self.issuer)
            .map_err(io::Error::other)?;
        Ok(Pair {
            chain: format!("{}{}", signed.pem(), self.certificate()),
            key: key.serialize_pem(),
        })
    }
}

impl Pair {
    /// What a server of ours shows; with `clients`, it asks for certificates of that authority.
    pub(crate) fn server(&self, clients: Option<&str>) -> io::Result<Arc<rustls::ServerConfig>> {
        crate::systems::tls::install();
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let chain = chain.map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(io::Error::other)?;
        let builder = match clients {
            None => rustls::ServerConfig::builder().with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                for one in CertificateDer::pem_slice_iter(authority.as_bytes()) {
                    roots
                        .add(one.map_err(io::Error::other)?)
                        .map_err(io::Error::other)?;
                }
                let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
                let verifier = verifier.build().map_err(io::Error::other)?;
                rustls::ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }
}
