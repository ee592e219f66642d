//! How an outbound request failed: the kinds of runtime/egress, which are the names of wasi:http's error codes.

use std::mem;

use wasmtime_wasi_http::Error;

pub fn of(kind: &str) -> Error {
    match kind {
        "DNS-timeout" => Error::DnsTimeout,
        "DNS-error" => Error::DnsError { rcode: None, info_code: None },
        "destination-not-found" => Error::DestinationNotFound,
        "destination-unavailable" => Error::DestinationUnavailable,
        "destination-IP-prohibited" => Error::DestinationIpProhibited,
        "destination-IP-unroutable" => Error::DestinationIpUnroutable,
        "connection-refused" => Error::ConnectionRefused,
        "connection-terminated" => Error::ConnectionTerminated,
        "connection-timeout" => Error::ConnectionTimeout,
        "connection-read-timeout" => Error::ConnectionReadTimeout,
        "connection-write-timeout" => Error::ConnectionWriteTimeout,
        "connection-limit-reached" => Error::ConnectionLimitReached,
        "TLS-protocol-error" => Error::TlsProtocolError,
        "TLS-certificate-error" => Error::TlsCertificateError,
        "TLS-alert-received" => Error::TlsAlertReceived { alert_id: None, alert_message: None },
        "HTTP-request-denied" => Error::HttpRequestDenied,
        "HTTP-request-body-size" => Error::HttpRequestBodySize(None),
        "HTTP-request-method-invalid" => Error::HttpRequestMethodInvalid,
        "HTTP-request-URI-invalid" => Error::HttpRequestUriInvalid,
        "HTTP-request-URI-too-long" => Error::HttpRequestUriTooLong,
        "HTTP-request-header-section-size" => Error::HttpRequestHeaderSectionSize(None),
        "HTTP-response-incomplete" => Error::HttpResponseIncomplete,
        "HTTP-response-header-section-size" => Error::HttpResponseHeaderSectionSize(None),
        "HTTP-response-body-size" => Error::HttpResponseBodySize(None),
        "HTTP-response-timeout" => Error::HttpResponseTimeout,
        "HTTP-protocol-error" => Error::HttpProtocolError,
        _ => Error::InternalError(None),
    }
}

/// Every kind but that of a fault of the node.
const KINDS: [&str; 26] = [
    "DNS-timeout",
    "DNS-error",
    "destination-not-found",
    "destination-unavailable",
    "destination-IP-prohibited",
    "destination-IP-unroutable",
    "connection-refused",
    "connection-terminated",
    "connection-timeout",
    "connection-read-timeout",
    "connection-write-timeout",
    "connection-limit-reached",
    "TLS-protocol-error",
    "TLS-certificate-error",
    "TLS-alert-received",
    "HTTP-request-denied",
    "HTTP-request-body-size",
    "HTTP-request-method-invalid",
    "HTTP-request-URI-invalid",
    "HTTP-request-URI-too-long",
    "HTTP-request-header-section-size",
    "HTTP-response-incomplete",
    "HTTP-response-header-section-size",
    "HTTP-response-body-size",
    "HTTP-response-timeout",
    "HTTP-protocol-error",
];

/// The kind of an error.
pub fn kind(error: &Error) -> &'static str {
    let same = |kind: &&&str| mem::discriminant(&of(kind)) == mem::discriminant(error);
    KINDS.iter().find(same).unwrap_or(&"internal-error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_by_its_name() {
        for name in KINDS {
            assert_eq!(kind(&of(name)), name);
        }
        assert_eq!(kind(&Error::InternalError(None)), "internal-error");
    }
}
