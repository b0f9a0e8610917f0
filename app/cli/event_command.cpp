// lucid events: what was typed, clicked, opened and copied, as lines of JSON.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"

namespace lucid::cli {
namespace {

struct EventOptions {
  ServerOption server;
  std::string session, kinds;
  std::optional<std::int64_t> from, to;
  bool json = false;
};

// Cuts a stream of bytes into lines.
class Lines {
 public:
  explicit Lines(std::function<void(std::string_view)> each) : each_(std::move(each)) {}
  void feed(ByteView bytes) {
    std::string_view text = as_text(bytes);
    for (std::size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
      rest_ += text.substr(0, end);
      each_(rest_);
      rest_.clear();
    }
    rest_ += text;
  }

 private:
  std::function<void(std::string_view)> each_;
  std::string rest_;
};

// "00:01:02.345  key  {"action":"press",…}": the time and kind taken out, the rest as it is.
std::string for_people(std::string_view line) {
  auto event = parse_json(line);
  if (!event || !event->is_object()) return std::string(line);
  std::int64_t ms = number_of(*event, "ms");
  std::string kind = text_of(*event, "kind");
  json::object rest = event->get_object();
  rest.erase("ms");
  rest.erase("kind");
  return fmt::format("{:02}:{:02}:{:02}.{:03}  {:<16} {}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000, kind,
                     json::serialize(rest));
}

int events(Io& io, const EventOptions& o) {
  std::string query;
  auto add = [&](const std::string& key, const std::string& value) {
    query += (query.empty() ? "?" : "&") + key + "=" + net::percent_encode(value);
  };
  if (!o.kinds.empty()) add("kinds", o.kinds);
  if (o.from) add("from", std::to_string(*o.from));
  if (o.to) add("to", std::to_string(*o.to));
  Server server(find_server(io, o.server));
  std::string path = "/api/v1/sessions/" + checked_session(o.session) + "/events" + query;
  Lines people([&](std::string_view line) { io.out << for_people(line) << '\n'; });
  server.stream(path, "application/x-ndjson", [&](ByteView bytes) {
    if (o.json)
      io.out << as_text(bytes);
    else
      people.feed(bytes);
  });
  return kOk;
}

}  // namespace

void add_event_command(Program& program) {
  auto o = std::make_shared<EventOptions>();
  CLI::App& command = program.command("events", "Show a session's events: keys, pointer, windows, clipboard, gaps.",
                                      "  lucid events SESSION\n  lucid events SESSION --json --kinds key,clipboard | jq -r .text\n"
                                      "  lucid events SESSION --from 60000 --to 90000");
  o->server.add_to(command);
  command.add_option("SESSION", o->session, "session id")->required();
  command.add_option("--kinds", o->kinds, "comma-separated, e.g. key,window,clipboard,gap");
  command.add_option("--from", o->from, "from this millisecond of the session");
  command.add_option("--to", o->to, "to this millisecond of the session");
  command.add_flag("--json", o->json, "one JSON object a line");
  program.action(command, [&program, o] { return events(program.io(), *o); });
}

}  // namespace lucid::cli
