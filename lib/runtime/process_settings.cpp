#include "lib/runtime/process_settings.hpp"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "lib/runtime/tracing.hpp"

namespace lucid::runtime {
namespace {

std::optional<std::string> http_url_or_empty(const std::string& text) {
  if (text.empty()) return std::nullopt;
  try {
    net::Client probe({.base_url = text, .bearer = {}});
    return std::nullopt;
  } catch (const Error&) { return "must be http://host:port"; }
}

void visit(const std::vector<const Module*>& chosen, const Module* module, std::vector<const Module*>& path,
           std::vector<const Module*>& out) {
  if (std::find(out.begin(), out.end(), module) != out.end()) return;
  if (std::find(path.begin(), path.end(), module) != path.end())
    throw Error(ErrorKind::internal, "the module table has a circle at " + module->name);
  path.push_back(module);
  for (const std::string& name : module->starts_after) {
    auto found = std::find_if(chosen.begin(), chosen.end(), [&](const Module* m) { return m->name == name; });
    if (found != chosen.end()) visit(chosen, *found, path, out);
  }
  path.pop_back();
  out.push_back(module);
}

// Settings of services that other processes run may stand in the same file; their lines are blanked so that line numbers stay true.
std::string without_foreign_lines(const std::string& text, const Settings& own, const ProcessOptions& options) {
  Settings every;
  std::vector<const Module*> all;
  for (const Module& module : options.modules) all.push_back(&module);
  declare_all(every, options, all);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    std::string name = line.substr(0, line.find('='));
    std::erase_if(name, [](char c) { return c == ' ' || c == '\t'; });
    if (own.declared(name) || !every.declared(name)) out += line;
    out += '\n';
  }
  return out;
}

}  // namespace

std::vector<const Module*> in_start_order(const std::vector<Module>& modules, const std::vector<std::string>& targets) {
  std::vector<const Module*> chosen;
  for (const Module& module : modules)
    if (targets.empty() || std::find(targets.begin(), targets.end(), module.name) != targets.end()) chosen.push_back(&module);
  for (const std::string& target : targets)
    if (std::none_of(modules.begin(), modules.end(), [&](const Module& m) { return m.name == target; })) {
      std::string known;
      for (const Module& module : modules) known += (known.empty() ? "" : ", ") + module.name;
      throw Error(ErrorKind::invalid, "unknown_target", fmt::format("there is no service '{}'; there are {}", to_utf8(target, 80), known));
    }
  std::vector<const Module*> path, out;
  for (const Module* module : chosen) visit(chosen, module, path, out);
  return out;
}

std::string environment_prefix(const std::string& service) {
  std::string out = service;
  for (char& c : out) {
    if (c == '-')
      c = '_';
    else if (c >= 'a' && c <= 'z')
      c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

void declare_all(Settings& settings, const ProcessOptions& options, const std::vector<const Module*>& targets) {
  settings.declare({"data_dir", "LUCID_DATA", "./lucid-data", "Directory that holds everything Lucid keeps.", not_empty()});
  settings.declare({"host", "HOST", "127.0.0.1", "Address to listen on.", not_empty()});
  settings.declare({"port_offset", "LUCID_PORT_OFFSET", "0", "Added to every port, so that several instances share a machine.",
                    integer_between(0, 50'000)});
  settings.declare({"log_level", "LOG_LEVEL", "info", "Least level that is logged.",
                    one_of({"debug", "info", "warn", "warning", "error", "DEBUG", "INFO", "WARN", "WARNING", "ERROR"})});
  settings.declare({"log_format", "LOG_FORMAT", "json", "One JSON object a line, or text for people.", one_of({"json", "text"})});
  settings.declare({"debug", "DEBUG", "false", "Same as log_level = debug.", one_of({"true", "false"})});
  settings.declare(
      {"service_name", "SERVICE_NAME", targets.size() == 1 ? targets[0]->name : "lucid", "Name of the process in its log.", not_empty()});
  settings.declare({"tracing.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "",
                    "Collector that gets traces by OTLP/HTTP (http://host:4318, without /v1/traces); empty: none are made.",
                    http_url_or_empty});
  settings.declare({"tracing.ratio", "OTEL_TRACES_SAMPLER_ARG", "1",
                    "Share of the traces that begin here which is recorded; a caller's own decision comes first.",
                    [](const std::string& text) -> std::optional<std::string> {
                      return parse_ratio(text) ? std::nullopt : std::optional<std::string>("must be a number from 0 to 1");
                    }});
  settings.declare({"tracing.headers", "OTEL_EXPORTER_OTLP_HEADERS", "", "Headers for the collector: name=value,name=value.",
                    [](const std::string& text) -> std::optional<std::string> {
                      return parse_export_headers(text) ? std::nullopt : std::optional<std::string>("must be name=value,name=value");
                    },
                    true});
  for (const Module& module : options.modules)
    settings.declare({module.name + ".url", environment_prefix(module.name) + "_URL", "",
                      "Where " + module.name + " is reached; empty: this machine at its port.", http_url_or_empty});
  for (const Module* module : targets) {
    std::string variable = targets.size() == 1 ? "PORT" : environment_prefix(module->name) + "_PORT";
    if (!module->port_environment.empty()) variable = module->port_environment;
    settings.declare({module->name + ".port", variable, std::to_string(module->default_port),
                      "Port of " + module->name + "; 0: any free one.", integer_between(0, 65'535)});
    if (module->declare) module->declare(settings);
  }
}

std::string url_of_service(const Settings& settings, const std::vector<Module>& modules, const std::string& service,
                           std::optional<std::uint16_t> bound) {
  auto found = std::find_if(modules.begin(), modules.end(), [&](const Module& m) { return m.name == service; });
  if (found == modules.end()) throw Error(ErrorKind::internal, "there is no service " + service);
  if (const std::string& url = settings.text(service + ".url"); !url.empty()) return url;
  bool here = settings.declared(service + ".port");
  std::int64_t port = (here ? settings.integer(service + ".port") : found->default_port) + settings.integer("port_offset");
  if (bound) port = *bound;
  std::string host = here ? settings.text("host") : "127.0.0.1";
  if (host == "0.0.0.0" || host == "::") host = "127.0.0.1";
  return fmt::format(fmt::runtime(host.find(':') == std::string::npos ? "http://{}:{}" : "http://[{}]:{}"), host, port);
}

Settings resolve_settings(const ProcessOptions& options) {
  Settings settings;
  declare_all(settings, options, in_start_order(options.modules, options.targets));
  std::optional<std::string> text;
  if (options.config_file) {
    Bytes bytes = system_files().read_file(*options.config_file, 1 << 20);
    text = without_foreign_lines(std::string(as_text(bytes)), settings, options);
  }
  settings.resolve(
      options.flags, [](const char* name) -> const char* { return std::getenv(name); }, text, options.config_file.value_or(""));
  for (const Module* module : in_start_order(options.modules, options.targets)) {
    std::int64_t port = settings.integer(module->name + ".port");
    if (port != 0 && port + settings.integer("port_offset") > 65'535)
      throw Error(
          ErrorKind::invalid, "bad_setting",
          fmt::format("{}.port {} and port_offset {} are more than 65535 together", module->name, port, settings.integer("port_offset")));
  }
  return settings;
}

}  // namespace lucid::runtime
