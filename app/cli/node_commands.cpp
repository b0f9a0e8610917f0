// lucid node: this machine as a node (join), and what an operator orders of nodes. lucid nodes, pools, poot, payouts, statement: what
// node-management knows, through session-api.
#include <unistd.h>

#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "app/cli/stop_signals.hpp"
#include "lib/base/clock.hpp"
#include "node/agent/agent.hpp"

namespace lucid::cli {
namespace {

constexpr std::size_t kMaxInvitation = 4096;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;

struct NodeOptions {
  ServerOption server;
  std::string url, data = "lucid-node", name, type, invitation_file;
  std::int64_t storage_gb = 0;
  int slots = -1;
  std::string node, cause, state, pool, period;
  std::int64_t uses = 1, valid_seconds = 3'600, epoch = -1, slot = -1;
  std::size_t limit = 50;
  bool json = false;
};

std::string plain(std::string text) {  // nothing from outside may move a terminal's cursor
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

std::string shown(const json::value& value, std::string_view key) {
  const json::object* object = value.if_object();
  const json::value* member = object != nullptr ? object->if_contains(key) : nullptr;
  if (member == nullptr || member->is_null()) return "-";
  if (member->is_string()) return member->get_string().empty() ? "-" : plain(std::string(member->get_string()));
  return json::serialize(*member);
}

std::string shown(const json::value& value, std::string_view object, std::string_view key) {
  const json::object* outer = value.if_object();
  const json::value* inner = outer != nullptr ? outer->if_contains(object) : nullptr;
  return inner != nullptr ? shown(*inner, key) : "-";
}

const json::array& list_in(const json::value& answer, std::string_view key) {
  const json::object* object = answer.if_object();
  const json::value* list = object != nullptr ? object->if_contains(key) : nullptr;
  if (list == nullptr || !list->is_array())
    throw Error(ErrorKind::internal, "bad_answer", fmt::format("the server's answer makes no sense: no {} in it", key));
  return list->get_array();
}

// All pages of a list, up to the limit.
json::array pages(Server& server, const std::string& path, std::string_view key, std::size_t limit) {
  json::array all;
  for (std::string cursor; all.size() < limit;) {
    std::string target =
        fmt::format("{}{}limit={}", path, path.find('?') == std::string::npos ? '?' : '&', std::min<std::size_t>(limit - all.size(), 100));
    if (!cursor.empty()) target += "&cursor=" + net::percent_encode(cursor);
    json::value page = server.get(target);
    for (const json::value& row : list_in(page, key)) all.push_back(row);
    cursor = text_of(page, "cursor");
    if (cursor.empty()) break;
  }
  return all;
}

struct Column {
  const char* title;
  int width;
  std::function<std::string(const json::value&)> text;
};
Column column(const char* title, int width, std::string key) {
  return {title, width, [key = std::move(key)](const json::value& row) { return shown(row, key); }};
}

int show_rows(Io& io, const NodeOptions& o, const json::array& rows, const std::vector<Column>& columns) {
  if (o.json) {
    io.out << json::serialize(rows) << '\n';
    return kOk;
  }
  auto line = [&](auto&& text_for) {
    std::string out;
    for (const Column& c : columns) out += fmt::format("{:<{}}  ", text_for(c), c.width);
    while (out.ends_with(' ')) out.pop_back();
    io.out << out << '\n';
  };
  line([](const Column& c) { return std::string(c.title); });
  for (const json::value& row : rows) line([&](const Column& c) { return c.text(row); });
  return kOk;
}

// ---- this machine ---------------------------------------------------------------------------------------------------------------------
std::optional<std::string> find_invitation(const Io& io, const NodeOptions& o) {
  std::string text;
  if (!o.invitation_file.empty()) {
    Bytes bytes = io.files.read_file(o.invitation_file, kMaxInvitation);
    text.assign(as_text(bytes));
  } else if (const char* value = io.environment("LUCID_INVITATION"); value != nullptr) {
    text = value;
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return std::nullopt;
  return text;
}

std::string host_name() {
  char name[65] = {};
  ::gethostname(name, sizeof name - 1);
  std::string out;
  for (const char* c = name; *c != '\0'; ++c) out += std::isalnum(static_cast<unsigned char>(*c)) != 0 || *c == '-' || *c == '_' ? *c : '-';
  while (out.size() < 3) out += '-';
  return out;
}

int join(Io& io, const NodeOptions& o) {
  SystemClock clock;
  SystemRandom random;
  bool first = !io.files.exists(o.data + "/node.json");
  node_agent::AgentConfig config;
  config.url = o.url;
  config.directory = o.data;
  config.name = o.name.empty() && first ? host_name() : o.name;
  if (!o.type.empty()) config.type = contracts::node_type(o.type);
  if (!config.type && first) config.type = contracts::NodeType::worker;
  config.storage_bytes = static_cast<std::uint64_t>(o.storage_gb) * kGiB;
  config.session_slots = o.slots >= 0 ? o.slots : config.type == contracts::NodeType::worker ? 4 : 0;
  config.invitation = find_invitation(io, o);
  StopSignals signals;  // before any thread, so that all leave them to this one
  std::mutex saying;
  node_agent::Agent agent(std::move(config), {clock, random, io.files, [&](const std::string& line) {
                                                std::lock_guard lock(saying);
                                                io.err << "lucid: " << plain(line) << '\n' << std::flush;
                                              }});
  agent.join();
  {
    std::lock_guard lock(saying);
    io.out << agent.place()->node.text() << '\n' << std::flush;
  }
  while (!signals.wait(agent.beat())) {}
  std::lock_guard lock(saying);
  io.err << "lucid: stopped; the node is offline when its lease is over, and the same again after the next `lucid node join`\n";
  return kOk;
}

// ---- what an operator asks and orders -------------------------------------------------------------------------------------------------
std::string checked_id(const std::string& text) {
  auto id = Id::parse(text);
  if (!id) throw Error(ErrorKind::malformed, fmt::format("\"{}\" is not an id", to_utf8(text, 60)));
  return id->text();
}

int invite(Io& io, const NodeOptions& o) {
  Server server(find_server(io, o.server));
  json::value answer =
      server.send(net::Method::post, "/api/v1/invitations", json::object{{"uses", o.uses}, {"valid_seconds", o.valid_seconds}});
  if (o.json)
    io.out << json::serialize(answer) << '\n';
  else
    io.out << text_of(answer, "invitation") << '\n';
  return kOk;
}

int order(Io& io, const NodeOptions& o, const std::string& action) {
  std::string path = "/api/v1/nodes/" + checked_id(o.node) + "/" + action;
  Server server(find_server(io, o.server));
  json::object body;
  if (!o.cause.empty()) body["cause"] = o.cause;
  json::value node = server.send(net::Method::post, path, body);
  if (o.json)
    io.out << json::serialize(node) << '\n';
  else
    io.out << text_of(node, "id") << ' ' << text_of(node, "state") << '\n';
  return kOk;
}

int list_nodes(Io& io, const NodeOptions& o) {
  std::string path = "/api/v1/nodes";
  if (!o.state.empty()) path += "?state=" + net::percent_encode(o.state);
  if (!o.pool.empty()) path += (o.state.empty() ? "?pool=" : "&pool=") + checked_id(o.pool);
  Server server(find_server(io, o.server));
  auto sessions = [](const json::value& row) { return std::to_string(list_in(row, "sessions").size()); };
  auto beat = [](const json::value& row) {
    std::int64_t at = number_of(row, "last_beat_wall_ms");
    return at == 0 ? std::string("-") : to_rfc3339(at);
  };
  return show_rows(io, o, pages(server, path, "nodes", o.limit),
                   {column("NODE", 36, "id"),
                    column("TYPE", 9, "type"),
                    column("STATE", 11, "state"),
                    {"CPU FREE", 8, [](const json::value& row) { return shown(row, "load", "cpu_millicores_free") + "m"; }},
                    {"MEMORY FREE", 11, [](const json::value& row) { return shown(row, "load", "memory_mb_free") + " MB"; }},
                    {"SESSIONS", 8, sessions},
                    {"LAST HEARTBEAT", 24, beat},
                    column("NAME", 0, "name")});
}

int list_pools(Io& io, const NodeOptions& o) {
  Server server(find_server(io, o.server));
  json::value answer = server.get("/api/v1/pools");
  return show_rows(io, o, list_in(answer, "pools"),
                   {column("POOL", 36, "id"),
                    column("STATE", 9, "state"),
                    column("POLICY", 6, "policy"),
                    {"MEMBERS", 7, [](const json::value& row) { return std::to_string(list_in(row, "members").size()); }},
                    column("ACTIVE", 6, "active_members"),
                    column("MOST", 5, "max_members"),
                    column("NAME", 0, "name")});
}

std::string epoch_query(const NodeOptions& o) { return o.epoch < 0 ? "" : fmt::format("?epoch={}", o.epoch); }

int scores(Io& io, const NodeOptions& o) {
  Server server(find_server(io, o.server));
  json::value answer = server.get("/api/v1/poot/scores" + epoch_query(o));
  if (!o.json) io.err << fmt::format("lucid: epoch {}, window from epoch {}\n", shown(answer, "epoch"), shown(answer, "first_epoch"));
  return show_rows(io, o, list_in(answer, "scores"),
                   {column("RANK", 6, "rank"), column("NODE", 36, "node_id"), column("HOSTING", 10, "hosting"),
                    column("STORAGE", 10, "storage"), column("VALIDATION", 10, "validation"), column("CREDITS", 10, "credits"),
                    column("SLOTS UP", 8, "slots_up"), column("ADMITTED", 8, "admitted")});
}

int leaders(Io& io, const NodeOptions& o) {
  Server server(find_server(io, o.server));
  json::value answer = server.get("/api/v1/poot/leaders" + (o.slot < 0 ? "" : fmt::format("?slot={}", o.slot)));
  return show_rows(io, o, json::array{answer},
                   {column("SLOT", 9, "slot"), column("LEADER", 36, "node_id"), column("RANK", 5, "rank"), column("REASON", 0, "detail")});
}

int receipts(Io& io, const NodeOptions& o) {
  std::string path = "/api/v1/poot/receipts" + epoch_query(o);
  if (!o.node.empty()) path += (o.epoch < 0 ? "?node=" : "&node=") + checked_id(o.node);
  Server server(find_server(io, o.server));
  return show_rows(
      io, o, pages(server, path, "receipts", o.limit),
      {column("INDEX", 7, "index"), column("NODE", 36, "node_id"), column("KIND", 10, "kind"), column("RECEIPT", 0, "receipt")});
}

int list_payouts(Io& io, const NodeOptions& o) {
  std::string path = o.node.empty() ? "/api/v1/payouts" : "/api/v1/nodes/" + checked_id(o.node) + "/payouts";
  if (!o.state.empty()) path += "?state=" + net::percent_encode(o.state);
  Server server(find_server(io, o.server));
  return show_rows(
      io, o, pages(server, path, "payouts", o.limit),
      {column("PAYOUT", 36, "id"), column("NODE", 36, "node"), column("PERIOD", 12, "period"), column("AMOUNT", 18, "amount"),
       column("CURRENCY", 8, "currency"), column("STATE", 10, "state"), column("SINCE", 24, "since"), column("REASON", 0, "reason")});
}

// The bytes as they were made: their SHA-256 stands in the period.
int statement(Io& io, const NodeOptions& o) {
  Server server(find_server(io, o.server));
  std::string path = "/api/v1/payouts/periods/" + net::percent_encode(o.period);
  if (o.json) {
    server.stream(path + "/statement", "application/json", [&io](ByteView piece) { io.out << as_text(piece); });
    return kOk;
  }
  json::value period = server.get(path);
  for (const char* key : {"id", "first_epoch", "last_epoch", "currency", "budget", "budget_carried_in", "budget_carried_out"})
    io.out << fmt::format("{:<20} {}\n", key, shown(period, key));
  for (const char* key : {"share", "paid", "fee", "carried_in", "carried_out", "withheld_in", "withheld_out"})
    io.out << fmt::format("{:<20} {}\n", key, shown(period, "totals", key));
  for (const char* key : {"lines", "payouts", "closed_at", "statement_sha256", "note"})
    io.out << fmt::format("{:<20} {}\n", key, shown(period, key));
  return kOk;
}

CLI::App& add_below(CLI::App& group, const char* name, const char* meaning, const char* examples) {
  CLI::App* command = group.add_subcommand(name, meaning);
  command->footer(fmt::format("Examples:\n{}\n\n{}", examples, kExitCodes));
  return *command;
}

void add_client_options(CLI::App& command, NodeOptions& o) {
  o.server.add_to(command);
  command.add_flag("--json", o.json, "as JSON");
}

void add_node_group(Program& program, const std::shared_ptr<NodeOptions>& o) {
  CLI::App& node = program.command("node", "This machine as a node; orders to nodes.",
                                   "  lucid node invite\n  lucid node join http://10.0.0.1:8095 --type storage --storage-gb 500");
  node.require_subcommand(1);
  CLI::App& joining = add_below(
      node, "join", "Be a node until SIGINT or SIGTERM: register at the first start, then send heartbeats and do what is asked for.",
      "  LUCID_INVITATION=$(lucid node invite) lucid node join http://127.0.0.1:8095 --name rack1-3 --slots 8\n"
      "  lucid node join http://10.0.0.1:8095 --data /var/lib/lucid-node --type storage --storage-gb 500 --invitation-file invitation\n"
      "  lucid node join http://10.0.0.1:8095 --data /var/lib/lucid-node      the same node again, no invitation");
  joining.add_option("URL", o->url, "address of node-management")->required();
  joining.add_option("--data", o->data, "the node's own directory: its key, its id, the chunks it holds")
      ->type_name("DIR")
      ->capture_default_str();
  joining.add_option("--name", o->name, "3 to 100 of A-Z a-z 0-9 _ -; the host's name when left out");
  joining.add_option("--type", o->type, "what it does; a worker when left out")->check(CLI::IsMember({"worker", "storage", "validator"}));
  joining.add_option("--storage-gb", o->storage_gb, "GiB it offers for chunks")->check(CLI::Range(0, 8'000'000));
  joining.add_option("--slots", o->slots, "sessions it can host at once; a worker 4, others 0 when left out")->check(CLI::Range(0, 10'000));
  joining.add_option("--invitation-file", o->invitation_file, "holds the invitation; LUCID_INVITATION when left out")->type_name("FILE");
  program.action(joining, [&program, o] { return join(program.io(), *o); });

  CLI::App& inviting = add_below(node, "invite", "Make an invitation and print it; nodes register with it.",
                                 "  lucid node invite\n  lucid node invite --uses 20 --valid-seconds 86400 > invitation");
  add_client_options(inviting, *o);
  inviting.add_option("--uses", o->uses, "nodes it admits")->check(CLI::Range(1, 10'000))->capture_default_str();
  inviting.add_option("--valid-seconds", o->valid_seconds, "until it is void")->check(CLI::Range(1, 86'400))->capture_default_str();
  program.action(inviting, [&program, o] { return invite(program.io(), *o); });

  struct Order {
    const char* name;
    const char* meaning;
    const char* examples;
  };
  for (const Order& row :
       {Order{"drain", "Place nothing more on a node.", "  lucid node drain 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"},
        Order{"resume", "Take a node back to work.", "  lucid node resume 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"},
        Order{"maintenance", "Take a node out of work.",
              "  lucid node maintenance 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e --cause 'new disks'"},
        Order{"ban", "Refuse a node from now on.", "  lucid node ban 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e --cause 'forged receipts'"},
        Order{"retire", "A node will not come back.", "  lucid node retire 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"}}) {
    CLI::App& command = add_below(node, row.name, row.meaning, row.examples);
    add_client_options(command, *o);
    command.add_option("NODE", o->node, "node id")->required();
    command.add_option("--cause", o->cause, "why, as the node's events will say");
    program.action(command, [&program, o, action = std::string(row.name)] { return order(program.io(), *o, action); });
  }
}

}  // namespace

void add_node_commands(Program& program) {
  auto o = std::make_shared<NodeOptions>();
  add_node_group(program, o);

  CLI::App& nodes =
      program.command("nodes", "List nodes, newest first.", "  lucid nodes\n  lucid nodes --state offline --json | jq -r '.[].name'");
  add_client_options(nodes, *o);
  nodes.add_option("--state", o->state, "only nodes in this state");
  nodes.add_option("--pool", o->pool, "only members of this pool");
  nodes.add_option("--limit", o->limit, "at most this many")->check(CLI::Range(1, 100'000))->capture_default_str();
  program.action(nodes, [&program, o] { return list_nodes(program.io(), *o); });

  CLI::App& pools =
      program.command("pools", "List pools of nodes.", "  lucid pools\n  lucid pools --json | jq '.[] | select(.state == \"degraded\")'");
  add_client_options(pools, *o);
  program.action(pools, [&program, o] { return list_pools(program.io(), *o); });

  CLI::App& poot =
      program.command("poot", "Proof of operational tasks: what nodes did.", "  lucid poot scores\n  lucid poot receipts --epoch 712");
  poot.require_subcommand(1);
  CLI::App& score =
      add_below(poot, "scores", "Scores of a closed epoch, best first.", "  lucid poot scores\n  lucid poot scores --epoch 712 --json");
  CLI::App& leader =
      add_below(poot, "leaders", "The leader of a slot, and why.", "  lucid poot leaders\n  lucid poot leaders --slot 512640");
  CLI::App& receipt =
      add_below(poot, "receipts", "Receipts of a closed epoch: what every score can be recomputed from.",
                "  lucid poot receipts\n  lucid poot receipts --epoch 712 --node 018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e --json");
  for (CLI::App* command : {&score, &leader, &receipt}) add_client_options(*command, *o);
  for (CLI::App* command : {&score, &receipt}) command->add_option("--epoch", o->epoch, "the newest closed one when left out");
  leader.add_option("--slot", o->slot, "the last one that is over when left out");
  receipt.add_option("--node", o->node, "only those of this node, with their inclusion proofs");
  receipt.add_option("--limit", o->limit, "at most this many")->check(CLI::Range(1, 100'000))->capture_default_str();
  program.action(score, [&program, o] { return scores(program.io(), *o); });
  program.action(leader, [&program, o] { return leaders(program.io(), *o); });
  program.action(receipt, [&program, o] { return receipts(program.io(), *o); });

  CLI::App& payouts = program.command("payouts", "List payouts, newest first.", "  lucid payouts\n  lucid payouts --state failed --json");
  add_client_options(payouts, *o);
  payouts.add_option("--state", o->state, "only payouts in this state");
  payouts.add_option("--node", o->node, "only payouts to this node");
  payouts.add_option("--limit", o->limit, "at most this many")->check(CLI::Range(1, 100'000))->capture_default_str();
  program.action(payouts, [&program, o] { return list_payouts(program.io(), *o); });

  CLI::App& paper = program.command("statement", "What a period paid; with --json every line with its formula and inputs, as it was made.",
                                    "  lucid statement 2026-10\n  lucid statement 2026-10 --json | sha256sum");
  add_client_options(paper, *o);
  paper.add_option("PERIOD", o->period, "id of a closed period")->required();
  program.action(paper, [&program, o] { return statement(program.io(), *o); });
}

}  // namespace lucid::cli
