// The deployment's keys, one file each (mode 0600) under DATA/keys. The first start creates what this process's
// services need; later starts only read: a missing, unreadable, wrong-mode or malformed key refuses the start with one
// line naming the file. There are no default keys. Used at start, one thread.
#pragma once

#include <string>

#include "lib/base/file_ops.hpp"
#include "lib/base/random.hpp"
#include "lib/crypto/sealed_box.hpp"
#include "lib/crypto/signature.hpp"

namespace lucid::crypto {

class KeyStore {
 public:
  // `directory` = DATA/keys. The set of keys is created as a whole when the directory does not exist yet: all files are
  // written durably into a temporary directory which is then renamed, so a crash leaves all or none.
  // Files: checkpoint.key checkpoint.pub (Ed25519), spool.key spool.pub (X25519, the processor's),
  // playback.key playback.pub (X25519), service.key (32 bytes, text "lucid-secret:"+base64url), admin.token.
  KeyStore(std::string directory, FileOps& files, RandomSource& random);

  SigningKey checkpoint_key() const;  // each throws Error{unavailable, "key_missing"|"key_unreadable"|"key_malformed"|"key_mode"}
  VerifyKey checkpoint_public() const;
  BoxKey spool_key() const;
  BoxPublicKey spool_public() const;
  BoxKey playback_key() const;
  BoxPublicKey playback_public() const;
  Secret32 service_key() const;
  std::string admin_token() const;  // "lucid_" + 43 characters of base64url

 private:
  std::string directory_;
  FileOps& files_;
};

}  // namespace lucid::crypto
