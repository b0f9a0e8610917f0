// lucid connect: how to reach the desktop of an RDP session, made on the spot when none is named. lucid servers: the xrdp servers.
#include <algorithm>

#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "app/cli/stop_signals.hpp"
#include "lib/base/file_ops.hpp"

namespace lucid::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kServersLook{100};
constexpr std::chrono::seconds kReadyTime{60};

struct RdpOptions {
  ServerOption server;
  std::string session, name, account, desktop, resolution = "1920x1080", file, digests = "keyframes";
  bool json = false;
};

std::string rdp_state(const json::value& session) {
  const json::value* rdp = session.as_object().if_contains("rdp");
  if (rdp == nullptr || !rdp->is_object()) throw Error(ErrorKind::conflict, "not_rdp", "this session records an existing display");
  return text_of(*rdp, "state");
}

class Connecting {
 public:
  Connecting(Io& io, const RdpOptions& options) : io_(io), o_(options), server_(find_server(io, options.server)) {}

  int run() {
    if (o_.session.empty()) {
      json::object target{{"kind", "rdp"}, {"resolution", o_.resolution}};
      if (!o_.account.empty()) target["account"] = o_.account;
      if (!o_.desktop.empty()) target["desktop"] = o_.desktop;
      session_ = server_.send(net::Method::post, "/api/v1/sessions",
                              json::object{{"name", o_.name.empty() ? "desktop" : o_.name},
                                           {"target", std::move(target)},
                                           {"recording", json::object{{"digests", o_.digests}}}});
      path_ = "/api/v1/sessions/" + text_of(session_, "id");
    } else {
      path_ = "/api/v1/sessions/" + checked_session(o_.session);
      session_ = server_.get(path_);
    }
    if (text_of(session_, "status") == "created") session_ = server_.send(net::Method::post, path_ + "/start", json::object{});
    wait_until_ready();
    return o_.file.empty() ? show() : save();
  }

 private:
  void wait_until_ready() {
    StopSignals signals;
    auto until = std::chrono::steady_clock::now() + kReadyTime;
    std::string said;
    for (;; session_ = server_.get(path_)) {
      std::string state = rdp_state(session_), status = text_of(session_, "status");
      if (state == "ready" || state == "connected") return;
      if (state != "requested" && status != "starting")
        throw Error(ErrorKind::conflict, "not_connectable",
                    fmt::format("session {} is {}{}{}", text_of(session_, "id"), status, text_of(session_, "cause").empty() ? "" : ": ",
                                text_of(session_, "cause")));
      if (state != said) io_.err << "lucid: " << (said = state) << '\n' << std::flush;
      if (std::chrono::steady_clock::now() > until)
        throw Error(ErrorKind::timeout, fmt::format("session {} is still {}; try again", text_of(session_, "id"), state));
      if (signals.wait(kServersLook)) throw Error(ErrorKind::timeout, "interrupted; the session goes on");
    }
  }

  int show() {
    json::value offer = server_.get(path_ + "/connection");
    if (o_.json) {
      json::object out = offer.as_object();
      out["session_id"] = text_of(session_, "id");
      io_.out << json::serialize(out) << '\n';
      return kOk;
    }
    std::string password = text_of(offer, "password");
    // The password goes in through a pipe of the shell: in xfreerdp's arguments every user of the machine could read it.
    io_.out << (password.empty() ? "" : fmt::format("printf '%s\\n' '{}' | ", password))
            << fmt::format("xfreerdp /v:{}:{} /u:{} /load-balance-info:'{}' /cert:tofu{}\n", text_of(offer, "host"),
                           number_of(offer, "port"), text_of(offer, "account"), text_of(offer, "token"),
                           password.empty() ? "" : " /from-stdin:force");
    io_.err << fmt::format("lucid: session {}; valid once, until {}\n", text_of(session_, "id"), text_of(offer, "expires_at"));
    return kOk;
  }

  int save() {
    net::Call call;
    call.target = path_ + "/connection.rdp";
    net::Response answer = server_.http().expect(call);
    io_.files.replace_file(o_.file, answer.body);
    io_.err << "lucid: wrote " << o_.file << " for session " << text_of(session_, "id") << '\n';
    if (auto password = answer.headers.get("Lucid-One-Time-Password")) io_.out << "password: " << *password << '\n';
    return kOk;
  }

  Io& io_;
  const RdpOptions& o_;
  Server server_;
  json::value session_;
  std::string path_;
};

int servers(Io& io, const RdpOptions& o) {
  Server server(find_server(io, o.server));
  json::value page = server.get("/api/v1/rdp/servers?limit=100");
  const json::array& all = page.at("servers").as_array();
  if (o.json) {
    io.out << json::serialize(all) << '\n';
    return kOk;
  }
  io.out << fmt::format("{:<36}  {:<11}  {:<9}  {:>5}  {:<8}  {:<10}  {}\n", "SERVER", "STATE", "ACCOUNT", "PORT", "DISPLAY", "DESKTOP",
                        "CAUSE");
  for (const json::value& s : all) {
    const json::value* display = s.as_object().if_contains("display");
    io.out << fmt::format("{:<36}  {:<11}  {:<9}  {:>5}  {:<8}  {:<10}  {}\n", text_of(s, "id"), text_of(s, "state"), text_of(s, "account"),
                          number_of(s, "port"), display != nullptr && display->is_object() ? text_of(*display, "display") : "-",
                          text_of(s, "desktop"), text_of(s, "cause"));
  }
  return kOk;
}

}  // namespace

void add_rdp_commands(Program& program) {
  auto o = std::make_shared<RdpOptions>();
  CLI::App& connect =
      program.command("connect", "Print the command that opens a recorded RDP desktop; without SESSION a new one is made.",
                      "  lucid connect                                  a new desktop, and the xfreerdp command for it\n"
                      "  eval \"$(lucid connect --name 'release 4.2')\"   opens it at once\n"
                      "  lucid connect 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e --rdp desktop.rdp   a file for mstsc, Remmina or FreeRDP");
  o->server.add_to(connect);
  connect.add_option("SESSION", o->session, "session id; its credentials before are void");
  connect.add_option("--name", o->name, "what a new session is called");
  connect.add_option("--account", o->account, "a Unix account of the machine; a new one for this session when left out");
  connect.add_option("--desktop", o->desktop, "openbox, xfce");
  connect.add_option("--resolution", o->resolution, "WIDTHxHEIGHT a new desktop starts with")->capture_default_str();
  connect.add_option("--digests", o->digests, "frame digests stored in a new recording")
      ->check(CLI::IsMember({"off", "keyframes", "all"}))
      ->capture_default_str();
  connect.add_option("--rdp", o->file, "write a .rdp file instead")->type_name("FILE");
  connect.add_flag("--json", o->json, "host, port, token, account, password as JSON");
  program.action(connect, [&program, o] { return Connecting(program.io(), *o).run(); });

  CLI::App& list = program.command("servers", "List the xrdp servers.", "  lucid servers\n  lucid servers --json | jq -r '.[].port'");
  o->server.add_to(list);
  list.add_flag("--json", o->json, "a JSON array");
  program.action(list, [&program, o] { return servers(program.io(), *o); });
}

}  // namespace lucid::cli
