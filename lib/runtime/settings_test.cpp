#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/runtime/process_settings.hpp"
#include "lib/runtime/settings.hpp"

using namespace lucid;
using namespace lucid::runtime;
using testing::HasSubstr;

namespace {

using Map = std::map<std::string, std::string>;

Settings declared() {
  Settings settings;
  settings.declare({"rate", "RATE", "15", "Frames a second.", integer_between(1, 60)});
  settings.declare({"mode", "MODE", "full", "How.", one_of({"full", "off"})});
  settings.declare({"secret", "SECRET", "", "A secret.", {}, true});
  settings.declare({"on", "ON", "false", "Whether.", one_of({"true", "false"})});
  return settings;
}

std::function<const char*(const char*)> environment(const Map& values) {
  return [values](const char* name) -> const char* {
    static thread_local std::string kept;
    auto found = values.find(name);
    if (found == values.end()) return nullptr;
    kept = found->second;
    return kept.c_str();
  };
}

std::string refusal(const Map& flags, const Map& variables, const std::optional<std::string>& file) {
  Settings settings = declared();
  try {
    settings.resolve(flags, environment(variables), file, "lucid.conf");
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    EXPECT_THAT(e.what(), testing::Not(HasSubstr("\n")));
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST(Settings, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::optional<std::string> file = "# comment\n\n rate = 10 \nmode=off\n";
  Settings a = declared(), b = declared(), c = declared(), d = declared();
  a.resolve({{"rate", "30"}}, environment({{"RATE", "20"}}), file, "f");
  b.resolve({}, environment({{"RATE", "20"}}), file, "f");
  c.resolve({}, environment({{"RATE", ""}}), file, "f");
  d.resolve({}, environment({}), std::nullopt, "f");
  EXPECT_EQ(a.integer("rate"), 30);
  EXPECT_EQ(b.integer("rate"), 20);
  EXPECT_EQ(c.integer("rate"), 10);
  EXPECT_EQ(d.integer("rate"), 15);
  EXPECT_EQ(a.show()[0].source, "flag");
  EXPECT_EQ(b.show()[0].source, "environment");
  EXPECT_EQ(c.show()[0].source, "file");
  EXPECT_EQ(d.show()[0].source, "default");
  EXPECT_EQ(c.text("mode"), "off");
  EXPECT_FALSE(d.boolean("on"));
}

TEST(Settings, RefusalsNameTheSettingItsSourceAndWhatIsAllowed) {
  EXPECT_EQ(refusal({{"rate", "61"}}, {}, {}), "--rate must be an integer from 1 to 60, not '61'");
  EXPECT_EQ(refusal({}, {{"RATE", "fast"}}, {}), "RATE in the environment (rate) must be an integer from 1 to 60, not 'fast'");
  EXPECT_EQ(refusal({}, {}, "\nmode = half\n"), "lucid.conf:2: mode must be one of full, off, not 'half'");
  EXPECT_THAT(refusal({{"rates", "1"}}, {}, {}), HasSubstr("--rates is not a known setting"));
  EXPECT_EQ(refusal({}, {}, "rates = 1"), "lucid.conf:1: rates is not a known setting");
  EXPECT_THAT(refusal({}, {}, "rate 1"), HasSubstr("lucid.conf:1: 'rate 1' is not"));
  EXPECT_THAT(refusal({}, {}, "rate = 1\nrate = 2"), HasSubstr("lucid.conf:2: rate is set a second time"));
}

TEST(Settings, SecretsAreNeverShown) {
  Settings settings = declared();
  settings.resolve({{"secret", "hunter2"}}, environment({}), std::nullopt, "");
  for (const auto& shown : settings.show()) EXPECT_NE(shown.value, "hunter2");
  EXPECT_EQ(settings.text("secret"), "hunter2");
  EXPECT_THROW(settings.declare({"secret", "", "", "", {}}), Error);
  EXPECT_THROW(settings.text("unknown"), Error);
}

namespace {

ProcessOptions table(std::vector<std::string> targets) {
  ProcessOptions options;
  Module storage, api;
  storage.name = "session-storage";
  storage.default_port = 8086;
  storage.declare = [](Settings& s) { s.declare({"session-storage.packs", "PACKS", "4", "Packs.", integer_between(1, 9)}); };
  api.name = "session-api";
  api.default_port = 8087;
  api.starts_after = {"session-storage", "elsewhere"};
  options.modules = {api, storage};
  options.targets = std::move(targets);
  return options;
}

}  // namespace

TEST(ProcessSettings, ModulesStartAfterWhatTheyNeed) {
  ProcessOptions options = table({});
  auto order = in_start_order(options.modules, {});
  ASSERT_EQ(order.size(), 2u);
  EXPECT_EQ(order[0]->name, "session-storage");
  EXPECT_EQ(in_start_order(options.modules, {"session-api"}).size(), 1u);
  EXPECT_THROW(in_start_order(options.modules, {"session-apis"}), Error);
  options.modules[1].starts_after = {"session-api"};
  EXPECT_THROW(in_start_order(options.modules, {}), Error);
}

TEST(ProcessSettings, UrlsFollowPortsOffsetAndOverrides) {
  ProcessOptions options = table({});
  options.flags = {{"port_offset", "1000"}, {"session-api.port", "5000"}};
  Settings settings = resolve_settings(options);
  EXPECT_EQ(url_of_service(settings, options.modules, "session-storage"), "http://127.0.0.1:9086");
  EXPECT_EQ(url_of_service(settings, options.modules, "session-api"), "http://127.0.0.1:6000");
  options.targets = {"session-api"};
  options.flags = {{"session-storage.url", "http://storage:8086"}, {"host", "0.0.0.0"}};
  settings = resolve_settings(options);
  EXPECT_EQ(url_of_service(settings, options.modules, "session-storage"), "http://storage:8086");
  EXPECT_EQ(url_of_service(settings, options.modules, "session-api"), "http://127.0.0.1:8087");
  options.flags = {{"session-storage.url", "ftp://x"}};
  EXPECT_THROW(resolve_settings(options), Error);
  options.flags = {{"session-storage.port", "1"}};
  EXPECT_THROW(resolve_settings(options), Error) << "a service that does not run here has no port here";
}

TEST(ProcessSettings, PlainPortVariableIsForASingleTargetOnly) {
  for (const auto& shown : resolve_settings(table({"session-api"})).show())
    if (shown.name == "session-api.port") { EXPECT_EQ(shown.environment, "PORT"); }
  for (const auto& shown : resolve_settings(table({})).show())
    if (shown.name == "session-api.port") { EXPECT_EQ(shown.environment, "SESSION_API_PORT"); }
}

TEST(ProcessSettings, OneFileServesAllProcessesButNotUnknownNames) {
  TempDir dir;
  ProcessOptions options = table({"session-api"});
  options.config_file = dir.path() + "/lucid.conf";
  auto write = [&](std::string_view text) { system_files().replace_file(*options.config_file, as_bytes(text)); };
  write("session-storage.packs = 5\nsession-api.port = 99\n");
  EXPECT_EQ(resolve_settings(options).integer("session-api.port"), 99);
  write("session-storage.packs = 5\n\nsession-storage.pack = 5\n");
  try {
    resolve_settings(options);
    FAIL();
  } catch (const Error& e) { EXPECT_THAT(e.what(), HasSubstr("lucid.conf:3: session-storage.pack is not a known setting")); }
  options.config_file = dir.path() + "/absent";
  EXPECT_THROW(resolve_settings(options), Error);
}
