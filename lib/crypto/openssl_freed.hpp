// Owns OpenSSL's objects: std::unique_ptr<SSL, Freed<SSL_free>>. Private to lib/crypto.
#pragma once

namespace lucid::crypto {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};

}  // namespace lucid::crypto
