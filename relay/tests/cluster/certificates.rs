//! Certificates of the lab: an authority, and files that are renewed while everything runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority with its folder of certificates.
pub struct Certificates {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// An authority with a certificate for the addresses, good for so long.
    pub fn new(addresses: &[String], good_for: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        let made = Self {
            folder,
            authority: Issuer::new(params, key),
        };
        made.renew(addresses, good_for);
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new certificate with a new key in the same files.
    pub fn renew(&self, addresses: &[String], good_for: Duration) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(addresses.to_vec()).unwrap();
        params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
        params.not_after = (SystemTime::now() + good_for).into();
        let certificate = params.signed_by(&key, &self.authority).unwrap().pem();
        replace(&self.path("tls.key"), &key.serialize_pem());
        replace(&self.path("tls.crt"), &certificate);
    }
}

/// As programs that renew certificates do it: nobody sees half a file.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
