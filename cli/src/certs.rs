//! `parallax certs`: an authority and certificates for trying TLS out.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::{Datelike as _, NaiveDate, TimeDelta, Utc};
use clap::{Args, ValueHint};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::usage::UsageError;

/// Only its owner reads a key.
const KEY_MODE: u32 = 0o600;

/// `parallax certs`.
#[derive(Args)]
#[command(after_help = "Examples:
  parallax certs                                    for this machine, into ./certs
  parallax certs --out /etc/parallax/tls --name relay.example.com,10.0.0.5
  parallax-observer --listen 0.0.0.0:4244 --tls-cert-file certs/server.crt --tls-key-file certs/server.key \\
    --tls-client-ca-files certs/ca.crt
  parallax status --server tls://localhost:4244 --tls-ca-cert-files certs/ca.crt \\
    --tls-client-cert-file certs/client.crt --tls-client-key-file certs/client.key

An authority that is in the folder already signs the new certificates. For production, use an authority of your own.")]
pub(crate) struct CertsArgs {
    /// Folder to write to
    #[arg(long, value_name = "FOLDER", default_value = "certs", value_hint = ValueHint::DirPath)]
    out: PathBuf,

    /// Names and addresses of the server [default: localhost, 127.0.0.1, ::1 and this machine's name]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    name: Vec<String>,

    /// Name of the client
    #[arg(long, value_name = "NAME", default_value = "parallax-client")]
    client: String,

    /// How long certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

impl CertsArgs {
    /// Makes the files and says which.
    pub(crate) fn run(self) -> Result<()> {
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make the folder {}", self.out.display()))?;
        let (authority, made) = authority(&self.out, self.days)?;
        let names = if self.name.is_empty() {
            own_names()
        } else {
            self.name.clone()
        };
        let subject = names.first().cloned().unwrap_or_default();
        let server = params(&subject, names.clone(), ExtendedKeyUsagePurpose::ServerAuth, self.days)?;
        write_pair(&self.out, "server", server, &authority)?;
        let client = params(&self.client, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, self.days)?;
        write_pair(&self.out, "client", client, &authority)?;
        let place = self.out.display();
        let mut out = std::io::stdout();
        writeln!(
            out,
            "{place}/ca.crt      the authority, {}",
            if made { "new" } else { "as it was" }
        )?;
        writeln!(out, "{place}/server.crt  for {}", names.join(", "))?;
        writeln!(out, "{place}/client.crt  for {}", self.client)?;
        writeln!(out, "each with its .key beside it; valid for {} days", self.days)?;
        writeln!(
            out,
            "try: parallax-observer --listen 127.0.0.1:4244 --tls-cert-file {place}/server.crt --tls-key-file {place}/server.key"
        )?;
        writeln!(
            out,
            "     parallax status --server tls://localhost:4244 --tls-ca-cert-files {place}/ca.crt"
        )?;
        Ok(())
    }
}

fn own_names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() && host != "localhost" {
        names.push(host.to_owned());
    }
    names
}

/// The authority of the folder, and whether it was made now.
fn authority(folder: &Path, days: u32) -> Result<(Issuer<'static, KeyPair>, bool)> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if certificate.exists() || key.exists() {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let (certificate_pem, key_pem) = (read(&certificate)?, read(&key)?);
        let pair = KeyPair::from_pem(&key_pem).with_context(|| format!("{} is no private key", key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, pair)
            .with_context(|| format!("{} is no certificate of an authority", certificate.display()))?;
        return Ok((issuer, false));
    }
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Parallax development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_time(&mut params, days);
    let pair = KeyPair::generate().context("cannot make a key")?;
    let signed = params
        .self_signed(&pair)
        .context("cannot sign the authority's certificate")?;
    write(&certificate, &signed.pem(), 0o644)?;
    write(&key, &pair.serialize_pem(), KEY_MODE)?;
    Ok((Issuer::new(params, pair), true))
}

fn params(subject: &str, names: Vec<String>, purpose: ExtendedKeyUsagePurpose, days: u32) -> Result<CertificateParams> {
    let listed = names.join(",");
    let mut params = CertificateParams::new(names).map_err(|_| {
        UsageError::value(
            &listed,
            "--name",
            "give DNS names and addresses, with a comma between them",
        )
    })?;
    params.distinguished_name.push(DnType::CommonName, subject);
    params.extended_key_usages = vec![purpose];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    set_time(&mut params, days);
    Ok(params)
}

/// Valid from yesterday on, since clocks differ.
fn set_time(params: &mut CertificateParams, days: u32) {
    let day = |date: NaiveDate| {
        let (month, day) = (date.month(), date.day());
        date_time_ymd(
            date.year(),
            u8::try_from(month).unwrap_or(1),
            u8::try_from(day).unwrap_or(1),
        )
    };
    let today = Utc::now().date_naive();
    params.not_before = day(today - TimeDelta::days(1));
    params.not_after = day(today + TimeDelta::days(i64::from(days) + 1));
}

fn write_pair(
    folder: &Path,
    name: &str,
    params: CertificateParams,
    authority: &Issuer<'static, KeyPair>,
) -> Result<()> {
    let pair = KeyPair::generate().context("cannot make a key")?;
    let signed = params
        .signed_by(&pair, authority)
        .with_context(|| format!("cannot sign {name}.crt"))?;
    // The key first: a server that reads between the two has neither of the new ones, or says that they don't fit.
    write(&folder.join(format!("{name}.key")), &pair.serialize_pem(), KEY_MODE)?;
    write(&folder.join(format!("{name}.crt")), &signed.pem(), 0o644)
}

/// Writes a file at once: readers see the old one or the new one.
fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    let new = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(content.as_bytes())?;
        fs::rename(&new, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
