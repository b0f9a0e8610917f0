// For tests only: a certificate authority of their own that issues what they ask for. Its keys are P-256, made in a millisecond.
#pragma once

#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/crypto/openssl_freed.hpp"
#include "lib/crypto/tls_certificate.hpp"

namespace lucid::crypto {

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    fill(certificate_.get(), key_.get(), name, name, 1, -10, 10);
    extend(certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate_.get(), NID_key_usage, "critical,keyCertSign");
    need(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0);
    name_ = name;
  }
  std::string certificate_pem() const { return text_of(certificate_.get()); }
  // `names` as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1". Valid from and to so many days from now.
  TlsCertificate issue(const std::string& names, int from_day = -1, int to_day = 1) const {
    Key key(EVP_EC_gen("P-256"));
    Certificate certificate(X509_new());
    fill(certificate.get(), key.get(), "test server", name_, 2, from_day, to_day);
    extend(certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
    extend(certificate.get(), NID_ext_key_usage, "serverAuth");
    extend(certificate.get(), NID_subject_alt_name, names);
    need(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0);
    Bio out(BIO_new(BIO_s_mem()));
    need(PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    return {.certificate_pem = text_of(certificate.get()), .private_key_pem = text_of(out.get())};
  }

 private:
  using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
  using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
  using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;

  static void need(bool ok) {
    if (!ok) throw std::runtime_error("OpenSSL could not make a test certificate");
  }
  static void fill(X509* c, EVP_PKEY* key, const std::string& subject, const std::string& issuer, long serial, int from_day, int to_day) {
    need(c != nullptr && key != nullptr && X509_set_version(c, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(c), serial) == 1);
    std::time_t now = std::time(nullptr);
    need(X509_time_adj_ex(X509_getm_notBefore(c), from_day, 0, &now) != nullptr);
    need(X509_time_adj_ex(X509_getm_notAfter(c), to_day, 0, &now) != nullptr);
    auto common_name = [](X509_NAME* name, const std::string& text) {
      need(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()), -1, 0) == 1);
    };
    common_name(X509_get_subject_name(c), subject);
    common_name(X509_get_issuer_name(c), issuer);
    need(X509_set_pubkey(c, key) == 1);
  }
  static void extend(X509* c, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, c, c, nullptr, nullptr, 0);
    std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    need(extension && X509_add_ext(c, extension.get(), -1) == 1);
  }
  static std::string text_of(X509* certificate) {
    Bio out(BIO_new(BIO_s_mem()));
    need(PEM_write_bio_X509(out.get(), certificate) == 1);
    return text_of(out.get());
  }
  static std::string text_of(BIO* bio) {
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
  }

  Key key_;
  Certificate certificate_;
  std::string name_;
};

}  // namespace lucid::crypto
