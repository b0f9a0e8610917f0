// The TLS certificate an xrdp shows: made by ourselves at the first start of a deployment that brings none. RSA 2048, because old RDP clients
// know nothing else; clients pin it or are told its fingerprint, nobody verifies a chain. Pure; any thread. Error{internal} when OpenSSL
// fails. Source: RFC 5280.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/error.hpp"

namespace lucid::crypto {

struct TlsCertificate {
  std::string certificate_pem;
  std::string private_key_pem;  // PKCS#8, secret
};

// Signed by its own key, valid from a day before `now_wall_ms` (clocks differ) for `days`.
TlsCertificate make_self_signed(const std::string& common_name, const std::vector<std::string>& dns_names, std::int64_t now_wall_ms,
                                int days);

// SHA-256 of the DER form in lower-case hex; Error{malformed} when `pem` holds no certificate.
Expected<std::string> certificate_fingerprint(std::string_view pem);

// When the (first) certificate in `pem` is no longer valid, in Unix milliseconds; Error{malformed} when there is none or its date is none.
Expected<std::int64_t> certificate_expires_wall_ms(std::string_view pem);

// Whether the two belong together; the reason when they do not.
std::optional<std::string> certificate_problem(std::string_view certificate_pem, std::string_view private_key_pem);

}  // namespace lucid::crypto
