//! The names that a client certificate gives its owner.

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The names in a certificate that TLS has already verified, as entries write them: `URI:…` and `DNS:…` of the
/// subject's alternative names, `CN:…` of the subject.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::URI(uri) => names.push(format!("URI:{uri}")),
                GeneralName::DNSName(name) => names.push(format!("DNS:{name}")),
                _ => {}
            }
        }
    }
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    names.extend(common.map(|name| format!("CN:{name}")));
    names
}
