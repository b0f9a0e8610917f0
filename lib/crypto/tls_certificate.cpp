#include "lib/crypto/tls_certificate.hpp"

#include <array>
#include <ctime>
#include <memory>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/base/bytes.hpp"
#include "lib/crypto/openssl_freed.hpp"

namespace lucid::crypto {
namespace {

using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;

void require(bool ok, const char* what) {
  if (!ok) throw Error(ErrorKind::internal, std::string("make a TLS certificate: OpenSSL could not ") + what);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  require(extension && X509_add_ext(certificate, extension.get(), -1) == 1, "add an extension");
}

Bio memory(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

}  // namespace

TlsCertificate make_self_signed(const std::string& common_name, const std::vector<std::string>& dns_names, std::int64_t now_wall_ms,
                                int days) {
  Key key(EVP_RSA_gen(2048));
  require(key != nullptr, "make an RSA key");
  Certificate certificate(X509_new());
  require(certificate && X509_set_version(certificate.get(), 2) == 1, "allocate");
  // RFC 5280 4.1.2.2: positive, at most 20 bytes, hard to guess.
  std::array<unsigned char, 16> serial{};
  require(RAND_bytes(serial.data(), serial.size()) == 1, "get random bytes");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);
  std::unique_ptr<BIGNUM, Freed<BN_free>> number(BN_bin2bn(serial.data(), serial.size(), nullptr));
  require(number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr, "set the serial number");
  constexpr std::time_t kDay = 86'400;
  std::time_t from = static_cast<std::time_t>(now_wall_ms / 1000) - kDay;
  require(X509_time_adj_ex(X509_getm_notBefore(certificate.get()), 0, 0, &from) != nullptr, "set the validity");
  require(X509_time_adj_ex(X509_getm_notAfter(certificate.get()), days + 1, 0, &from) != nullptr, "set the validity");
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  require(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.data()),
                                     static_cast<int>(common_name.size()), -1, 0) == 1,
          "set the subject");
  require(X509_set_issuer_name(certificate.get(), subject) == 1, "set the issuer");
  require(X509_set_pubkey(certificate.get(), key.get()) == 1, "set the key");
  add_extension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(certificate.get(), NID_ext_key_usage, "serverAuth");
  std::string names;
  for (const std::string& dns : dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + dns;
  if (!names.empty()) add_extension(certificate.get(), NID_subject_alt_name, names);
  require(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0, "sign");

  TlsCertificate made;
  Bio out(BIO_new(BIO_s_mem()));
  require(out && PEM_write_bio_X509(out.get(), certificate.get()) == 1, "write the certificate");
  made.certificate_pem = text_of(out.get());
  Bio secret(BIO_new(BIO_s_secmem()));
  require(secret && PEM_write_bio_PKCS8PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1, "write the key");
  made.private_key_pem = text_of(secret.get());
  return made;
}

Expected<std::string> certificate_fingerprint(std::string_view pem) {
  Bio in = memory(pem);
  Certificate certificate(in ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
  Hash32 digest{};
  unsigned int size = 0;
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size) != 1)
    return std::unexpected(Error(ErrorKind::malformed, "read a TLS certificate: it is not a certificate in PEM form"));
  return to_hex(digest);
}

Expected<std::int64_t> certificate_expires_wall_ms(std::string_view pem) {
  Bio in = memory(pem);
  Certificate certificate(in ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
  std::tm until{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &until) != 1)
    return std::unexpected(Error(ErrorKind::malformed, "read a TLS certificate: it is not a certificate in PEM form"));
  return static_cast<std::int64_t>(::timegm(&until)) * 1000;
}

std::optional<std::string> certificate_problem(std::string_view certificate_pem, std::string_view private_key_pem) {
  Bio in = memory(certificate_pem);
  Certificate certificate(in ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return "the certificate is not in PEM form";
  Bio key_in = memory(private_key_pem);
  // An empty pass phrase, given on purpose: OpenSSL would ask the terminal for one.
  Key key(key_in ? PEM_read_bio_PrivateKey(key_in.get(), nullptr, nullptr, const_cast<char*>("")) : nullptr);
  if (!key) return "the private key is not in PEM form, or needs a pass phrase";
  if (X509_check_private_key(certificate.get(), key.get()) != 1) return "the private key is not the certificate's";
  return std::nullopt;
}

}  // namespace lucid::crypto
