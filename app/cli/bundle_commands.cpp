// lucid bundle: a recording with its evidence in one file. lucid verify: checks such a file, offline.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "lib/recording/bundle.hpp"

namespace lucid::cli {
namespace {

struct BundleOptions {
  ServerOption server;
  std::string session, out, file, key;
  bool json = false;
};

std::string parent_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// A file that has its name only once it is whole.
class WholeFile {
 public:
  WholeFile(FileOps& files, std::string path) : files_(files), path_(std::move(path)), part_(path_ + ".part") {
    files_.remove(part_);
    try {
      file_ = files_.open(part_, OpenMode::create_new);
    } catch (const Error& e) {
      // Not "not found", which says that the server has no such session.
      throw Error(ErrorKind::internal, "cannot_write", e.what());
    }
  }
  ~WholeFile() {
    if (done_) return;
    try {
      files_.remove(part_);
    } catch (const Error&) {
      // Nothing more can be done; the part is recognised by its name.
    }
  }
  WholeFile(const WholeFile&) = delete;
  void write(ByteView bytes) {
    files_.write(file_, bytes, part_);
    size_ += bytes.size();
  }
  void finish() {
    files_.sync_data(file_, part_);
    files_.rename(part_, path_);
    done_ = true;
    files_.sync_directory(parent_of(path_));
  }
  std::uint64_t size() const { return size_; }

 private:
  FileOps& files_;
  std::string path_, part_;
  File file_;
  std::uint64_t size_ = 0;
  bool done_ = false;
};

int bundle(Io& io, const BundleOptions& o) {
  std::string session = checked_session(o.session);
  Server server(find_server(io, o.server));
  WholeFile file(io.files, o.out);
  const std::string path = "/api/v1/sessions/" + session;
  try {
    server.stream(path + "/bundle", "application/vnd.lucid.bundle", [&](ByteView bytes) { file.write(bytes); });
  } catch (const Error& e) {
    if (e.code() != "connection_lost" || file.size() == 0) throw;
    // The server breaks off where it cannot read on; an answer that has begun cannot say why.
    throw Error(
        ErrorKind::corrupt, "bundle_cut",
        fmt::format("the server broke off after {} bytes; POST {}/verify says what is wrong with the recording", file.size(), path));
  }
  file.finish();
  io.out << fmt::format("{} {} bytes\n", o.out, file.size());
  return kOk;
}

crypto::VerifyKey read_key(Io& io, const std::string& text_or_file) {
  std::string text = text_or_file;
  if (!text.starts_with("lucid-sig-pub:")) {
    Bytes bytes = io.files.read_file(text_or_file, 4096);
    text = std::string(as_text(bytes));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  auto key = crypto::VerifyKey::parse(text);
  if (!key) throw Error(ErrorKind::malformed, "--key is neither a \"lucid-sig-pub:…\" text nor a file that holds one");
  return *key;
}

const char* word(recording::Verdict verdict) {
  switch (verdict) {
    case recording::Verdict::good: return "good";
    case recording::Verdict::altered: return "altered";
    case recording::Verdict::unreadable: break;
  }
  return "unreadable";
}

json::object to_json(const recording::VerifyReport& r) {
  json::array findings;
  for (const recording::Finding& f : r.findings) {
    json::object item{{"code", f.code}, {"detail", f.detail}, {"first_byte", f.first_byte}, {"last_byte", f.last_byte}};
    if (f.sequence) item["sequence"] = *f.sequence;
    findings.push_back(std::move(item));
  }
  return {{"verdict", word(r.verdict)},     {"verified", r.verdict == recording::Verdict::good},
          {"session_id", r.session.text()}, {"chunks", r.chunks},
          {"stored_bytes", r.stored_bytes}, {"root", to_hex(r.root)},
          {"complete", r.complete},         {"findings", std::move(findings)}};
}

int verify(Io& io, const BundleOptions& o) {
  recording::VerifyReport report;
  try {
    crypto::VerifyKey key = read_key(io, o.key);
    File file = io.files.open(o.file, OpenMode::read);
    std::uint64_t size = io.files.size(file, o.file);
    report = recording::verify_bundle(
        size, [&](std::uint64_t at, std::span<std::uint8_t> out) { return io.files.read_at(file, out, at, o.file); }, key);
  } catch (const Error& e) {  // no such file, no such key: nothing was verified
    io.err << "lucid: " << e.what() << '\n';
    return kUsage;
  }
  if (o.json) {
    io.out << json::serialize(to_json(report)) << '\n';
  } else {
    io.out << fmt::format("{}: session {}, {} chunks, {} bytes, {}, root {}\n", word(report.verdict), report.session.text(), report.chunks,
                          report.stored_bytes, report.complete ? "complete" : "without its end", to_hex(report.root));
    for (const recording::Finding& f : report.findings)
      io.out << fmt::format("  {} at bytes {}-{}: {}\n", f.code, f.first_byte, f.last_byte, f.detail);
  }
  if (report.verdict != recording::Verdict::good && !report.findings.empty()) {
    const recording::Finding& first = report.findings.front();
    io.err << fmt::format("lucid: {}: first bad bytes {}-{} ({})\n", word(report.verdict), first.first_byte, first.last_byte, first.code);
  }
  return static_cast<int>(report.verdict);
}

}  // namespace

void add_bundle_commands(Program& program) {
  auto o = std::make_shared<BundleOptions>();
  CLI::App& make =
      program.command("bundle", "Write a recording with its evidence into one file.", "  lucid bundle SESSION -o session.lucid");
  o->server.add_to(make);
  make.add_option("SESSION", o->session, "session id")->required();
  make.add_option("-o,--out", o->out, "file to write; it appears only once it is whole")->required();
  program.action(make, [&program, o] { return bundle(program.io(), *o); });

  CLI::App& check = program.command("verify", "Check a bundle offline: exits 0 good, 1 altered, 2 unreadable.",
                                    "  lucid verify session.lucid --key lucid-data/keys/checkpoint.pub\n"
                                    "  lucid verify session.lucid --key lucid-sig-pub:…  --json");
  check.add_option("FILE", o->file, "bundle to check")->required();
  check.add_option("--key", o->key, "the deployment's checkpoint key: its text or a file that holds it")->required();
  check.add_flag("--json", o->json, "the report as JSON");
  program.action(check, [&program, o] { return verify(program.io(), *o); });
}

}  // namespace lucid::cli
