#include "lib/evidence/checkpoint.hpp"

#include <gtest/gtest.h>

#include "lib/base/bytes.hpp"
#include "lib/base/random.hpp"
#include "lib/evidence/tree.hpp"

namespace lucid::evidence {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  static std::string code(const Expected<Checkpoint>& opened) { return opened ? "good" : opened.error().code(); }
  std::string open_code(std::string_view note) { return code(open_checkpoint(note, key_.verify_key())); }
  // The note of any body, rightly signed.
  std::string sign_body(const std::string& body, const std::string& name) {
    std::string note = sign_checkpoint({.origin = name, .size = 0, .root = {}, .extensions = {}}, key_);
    Bytes id = *from_base64(note.substr(note.rfind(' ') + 1, note.size() - note.rfind(' ') - 2));
    id.resize(4);
    crypto::Signature signature = key_.sign(as_bytes(body));
    id.insert(id.end(), signature.begin(), signature.end());
    return body + "\n\u2014 " + name + " " + to_base64(id) + "\n";
  }

  SeededRandom random_{42};
  crypto::SigningKey key_ = crypto::SigningKey::make(random_);
  Checkpoint checkpoint_{.origin = session_origin("node-1", "0198a7b2"), .size = 17, .root = leaf_hash({}), .extensions = {}};
  std::string note_ = sign_checkpoint(checkpoint_, key_);
};

TEST_F(CheckpointTest, WhatWasSignedOpens) {
  EXPECT_EQ(checkpoint_.origin, "lucid/node-1/session/0198a7b2");
  EXPECT_TRUE(note_.starts_with("lucid/node-1/session/0198a7b2\n17\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\n\u2014 lucid/"));
  Expected<Checkpoint> opened = open_checkpoint(note_, key_.verify_key());
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_EQ(*opened, checkpoint_);
  EXPECT_EQ(*parse_checkpoint(note_), checkpoint_);
}

TEST_F(CheckpointTest, ExtensionLinesAreKeptAndSigned) {
  checkpoint_.extensions = {"final", "time 2026-11-22T01:35:26.123Z", "\u2014 not a signature"};
  note_ = sign_checkpoint(checkpoint_, key_);
  EXPECT_EQ(*open_checkpoint(note_, key_.verify_key()), checkpoint_);
  note_.replace(note_.find("final"), 5, "Final");
  EXPECT_EQ(open_code(note_), "bad_signature");
}

TEST_F(CheckpointTest, EveryChangedBitIsNoticed) {
  for (std::size_t i = 0; i < note_.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string altered = note_;
      altered[i] = static_cast<char>(altered[i] ^ (1 << bit));
      EXPECT_FALSE(open_checkpoint(altered, key_.verify_key())) << i << " " << bit;
    }
  for (std::size_t i = 0; i < note_.size(); ++i) {
    EXPECT_FALSE(open_checkpoint(note_.substr(0, i), key_.verify_key())) << i;
    EXPECT_FALSE(open_checkpoint(note_.substr(i + 1), key_.verify_key())) << i;
    std::string inserted = note_;
    inserted.insert(i, 1, '0');
    EXPECT_FALSE(open_checkpoint(inserted, key_.verify_key())) << i;
  }
}

// 20 000 random edits of a note with two signatures: none crashes, and what still opens says the same.
TEST_F(CheckpointTest, RandomEditsNeverOpenAsSomethingElse) {
  SeededRandom random(7);
  crypto::SigningKey witness = crypto::SigningKey::make(random);
  std::string other = sign_checkpoint({.origin = "witness.example", .size = 1, .root = {}, .extensions = {}}, witness);
  std::string both = note_ + other.substr(other.find("\n\n") + 2);
  ASSERT_EQ(open_code(both), "good");
  for (int i = 0; i < 20'000; ++i) {
    std::string altered = both;
    auto dice = random.array<16>();
    for (int edit = 0; edit <= dice[0] % 3; ++edit) {
      std::size_t at = (dice[1 + edit * 4] | dice[2 + edit * 4] << 8) % altered.size();
      char c = static_cast<char>(dice[3 + edit * 4]);
      switch (dice[4 + edit * 4] % 4) {
        case 0: altered[at] = c; break;
        case 1: altered.insert(at, 1, c); break;
        case 2: altered.erase(at, 1 + dice[0] % 9u); break;
        default: altered.insert(at, altered.substr(at / 2, 1 + dice[0] % 60u));
      }
      if (altered.empty()) break;
    }
    Expected<Checkpoint> opened = open_checkpoint(altered, key_.verify_key());
    ASSERT_TRUE(!opened || *opened == checkpoint_) << altered;
  }
}

TEST_F(CheckpointTest, SignaturesOfOthersAreIgnoredAndOursIsNeeded) {
  crypto::SigningKey other = crypto::SigningKey::make(random_);
  EXPECT_EQ(code(open_checkpoint(note_, other.verify_key())), "bad_signature");
  std::string by_other = sign_checkpoint(checkpoint_, other);
  std::string their_line = by_other.substr(by_other.find("\n\n") + 2), our_line = note_.substr(note_.find("\n\n") + 2);
  EXPECT_EQ(open_code(note_ + their_line), "good");
  EXPECT_EQ(open_code(by_other + our_line), "good");
  EXPECT_EQ(open_code(by_other), "bad_signature");
  EXPECT_EQ(open_code(note_ + "\u2014 some.witness AAAAAAAA\n"), "good");
  // A second, broken signature under our key's name condemns the note.
  std::string broken = our_line;
  broken[broken.size() - 9] = broken[broken.size() - 9] == 'A' ? 'B' : 'A';
  EXPECT_EQ(open_code(note_ + broken), "bad_signature");
}

TEST_F(CheckpointTest, TheOriginIsTheKeysName) {
  // The same key under another name: the note's text says session b, the signature line session a.
  EXPECT_EQ(open_code(sign_body("lucid/n/session/b\n1\n" + to_base64(Hash32{}) + "\n", "lucid/n/session/b")), "good");
  EXPECT_EQ(open_code(sign_body("lucid/n/session/b\n1\n" + to_base64(Hash32{}) + "\n", "lucid/n/session/a")), "bad_signature");
}

TEST_F(CheckpointTest, RightlySignedTextThatIsNoCheckpointIsMalformed) {
  const std::string root = to_base64(Hash32{});
  const std::string o = "lucid/n/session/a";
  ASSERT_EQ(open_code(sign_body(o + "\n0\n" + root + "\n", o)), "good");
  ASSERT_EQ(open_code(sign_body(o + "\n9223372036854775807\n" + root + "\nx\n", o)), "good");
  for (const std::string& body : {o + "\n",
                                  o + "\n1\n",
                                  o + "\n\n" + root + "\n",
                                  o + "\n01\n" + root + "\n",
                                  o + "\n+1\n" + root + "\n",
                                  o + "\n-1\n" + root + "\n",
                                  o + "\n 1\n" + root + "\n",
                                  o + "\n1 \n" + root + "\n",
                                  o + "\n0x1\n" + root + "\n",
                                  o + "\n9223372036854775808\n" + root + "\n",
                                  o + "\n18446744073709551616\n" + root + "\n",
                                  o + "\n1\n" + root.substr(0, 40) + "\n",
                                  o + "\n1\n" + root + "=\n",
                                  o + "\n1\n" + root + " \n",
                                  o + "\n1\n" + to_base64(Bytes(33)) + "\n",
                                  o + "\n1\n" + to_base64(Bytes(31)) + "\n",
                                  o + "\n1\n" + root.substr(0, 43) + "\n",
                                  "\n1\n" + root + "\n",
                                  o + "\n1\n" + root + "\n\nafter an empty line\n",
                                  o + "\r\n1\n" + root + "\n",
                                  o + "\n1\n" + root + "\n\tx\n",
                                  o + "\n1\n" + root + "\n\xff\n",
                                  std::string("\n")})
    EXPECT_EQ(open_code(sign_body(body, o)), "bad_checkpoint") << body;
}

TEST_F(CheckpointTest, BrokenNotesAreMalformed) {
  std::string body = note_.substr(0, note_.find("\n\n") + 2), line = note_.substr(note_.find("\n\n") + 2);
  for (const std::string& note :
       {std::string(), std::string("\n"), std::string("\n\n"), body, body + line.substr(0, line.size() - 1), body + line + "\n",
        body + line + "x", body + "- " + line.substr(4), body + "\u2014 name\n", body + "\u2014 name \n", body + "\u2014  AAAAAAAA\n",
        body + "\u2014 na+me AAAAAAAA\n", body + "\u2014 na\u00a0me AAAAAAAA\n", body + "\u2014 na\u3000me AAAAAAAA\n",
        body + "\u2014 name AAAA\n", body + "\u2014 name AAAAAAA\n", body + "\u2014 name AAAA AAAA\n", body + line + line.substr(1),
        note_.substr(0, 5) + '\0' + note_.substr(5)})
    EXPECT_EQ(code(parse_checkpoint(note)), "bad_checkpoint") << note;
}

TEST_F(CheckpointTest, NotesAreBounded) {
  std::string body = note_.substr(0, note_.find("\n\n") + 2), ours = note_.substr(note_.find("\n\n") + 2), lines;
  for (int i = 0; i < 99; ++i) lines += "\u2014 some.witness AAAAAAAA\n";
  EXPECT_EQ(open_code(body + lines + ours), "good");
  EXPECT_EQ(open_code(body + lines + ours + ours), "bad_checkpoint");
  checkpoint_.extensions = {std::string((64 << 10) - note_.size() - 1, 'x')};
  note_ = sign_checkpoint(checkpoint_, key_);
  EXPECT_EQ(note_.size(), 64u << 10);
  EXPECT_EQ(open_code(note_), "good");
  checkpoint_.extensions[0] += 'x';
  EXPECT_THROW(sign_checkpoint(checkpoint_, key_), Error);
  EXPECT_EQ(code(parse_checkpoint(std::string(1 << 20, '\n'))), "bad_checkpoint");
}

TEST_F(CheckpointTest, WhatCouldNotBeReadBackIsNotSigned) {
  auto refuses = [&](Checkpoint c) { EXPECT_THROW(sign_checkpoint(c, key_), Error); };
  for (const char* origin : {"", "a b", "a+b", "a\nb", "a\tb",
                             "a\u2003"
                             "b",
                             "\xff"})
    refuses({.origin = origin, .size = 0, .root = {}, .extensions = {}});
  for (const char* line : {"", "a\nb", "\x01", "\xc0\x80"}) refuses({.origin = "a", .size = 0, .root = {}, .extensions = {line}});
  refuses({.origin = "a", .size = std::uint64_t{1} << 63, .root = {}, .extensions = {}});
}

// The example key of golang.org/x/mod/sumdb/note.
TEST_F(CheckpointTest, VerifierKeysAreWrittenAsGoWritesThem) {
  std::string published = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
  Bytes bytes = *from_base64(published.substr(published.rfind('+') + 1));
  ASSERT_EQ(bytes.size(), 33u);
  crypto::VerifyKey key;
  std::copy(bytes.begin() + 1, bytes.end(), key.bytes.begin());
  EXPECT_EQ(note_verifier_key("PeterNeumann", key), published);
}

}  // namespace
}  // namespace lucid::evidence
