// lucid sessions, start, pause, resume, stop, terminate, delete.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"

namespace lucid::cli {
namespace {

struct SessionOptions {
  ServerOption server;
  std::string session;
  std::string status;
  std::size_t limit = 50;
  bool json = false;
};

std::string size_text(std::int64_t bytes) {
  if (bytes < 10'000) return fmt::format("{} B", bytes);
  if (bytes < 10'000'000) return fmt::format("{} kB", bytes / 1000);
  return fmt::format("{} MB", bytes / 1'000'000);
}

std::string duration_text(std::int64_t ms) {
  std::int64_t s = ms / 1000;
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

// Names come from users: nothing in them may move a terminal's cursor.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

int list(Io& io, const SessionOptions& o) {
  Server server(find_server(io, o.server));
  json::array all;
  for (std::string cursor; all.size() < o.limit;) {
    std::string path = fmt::format("/api/v1/sessions?limit={}", std::min<std::size_t>(o.limit - all.size(), 100));
    if (!o.status.empty()) path += "&status=" + net::percent_encode(o.status);
    if (!cursor.empty()) path += "&cursor=" + net::percent_encode(cursor);
    json::value page = server.get(path);
    for (const json::value& session : page.at("sessions").as_array()) all.push_back(session);
    cursor = text_of(page, "next_cursor");
    if (cursor.empty()) break;
  }
  if (o.json) {
    io.out << json::serialize(all) << '\n';
    return kOk;
  }
  io.out << fmt::format("{:<36}  {:<10}  {:<24}  {:>9}  {:>9}  {}\n", "SESSION", "STATUS", "CREATED", "DURATION", "SIZE", "NAME");
  for (const json::value& s : all)
    io.out << fmt::format("{:<36}  {:<10}  {:<24}  {:>9}  {:>9}  {}\n", text_of(s, "id"), text_of(s, "status"), text_of(s, "created_at"),
                          duration_text(number_of(s, "duration_ms")), size_text(number_of(s, "stored_bytes")),
                          printable(text_of(s, "name")));
  return kOk;
}

int act(Io& io, const SessionOptions& o, const std::string& action) {
  Server server(find_server(io, o.server));
  std::string path = "/api/v1/sessions/" + checked_session(o.session);
  if (action == "delete") {
    net::Call call;
    call.method = net::Method::del;
    call.target = path;
    net::Response response = server.http().expect(call);
    io.out << as_text(response.body) << '\n';
    return kOk;
  }
  json::value session = server.send(net::Method::post, path + "/" + action, json::object{});
  if (o.json)
    io.out << json::serialize(session) << '\n';
  else
    io.out << text_of(session, "id") << ' ' << text_of(session, "status") << '\n';
  return kOk;
}

}  // namespace

void add_session_commands(Program& program) {
  auto o = std::make_shared<SessionOptions>();
  CLI::App& sessions = program.command("sessions", "List sessions, newest first.",
                                       "  lucid sessions\n  lucid sessions --status recording --json | jq -r '.[].id'");
  o->server.add_to(sessions);
  sessions.add_option("--status", o->status, "only sessions in this state");
  sessions.add_option("--limit", o->limit, "at most this many")->check(CLI::Range(1, 100'000))->capture_default_str();
  sessions.add_flag("--json", o->json, "a JSON array");
  program.action(sessions, [&program, o] { return list(program.io(), *o); });

  struct Row {
    const char* name;
    const char* meaning;
  };
  for (const Row& row :
       {Row{"start", "Start recording a session that was created."}, Row{"pause", "Pause a recording."},
        Row{"resume", "Go on with a paused recording."}, Row{"stop", "Stop a recording; it is finished in the background."},
        Row{"terminate", "End a recording and mark it as terminated."}}) {
    CLI::App& command = program.command(row.name, row.meaning, fmt::format("  lucid {} 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e", row.name));
    o->server.add_to(command);
    command.add_option("SESSION", o->session, "session id")->required();
    command.add_flag("--json", o->json, "the session as JSON");
    program.action(command, [&program, o, action = std::string(row.name)] { return act(program.io(), *o, action); });
  }
  CLI::App& remove = program.command("delete", "Delete a session that has ended; prints the deletion receipt (JSON).",
                                     "  lucid delete 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e > receipt.json");
  o->server.add_to(remove);
  remove.add_option("SESSION", o->session, "session id")->required();
  program.action(remove, [&program, o] { return act(program.io(), *o, "delete"); });
}

}  // namespace lucid::cli
