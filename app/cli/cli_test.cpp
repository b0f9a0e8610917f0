// The command line without a server: parsing, exit codes, help, finding the server, offline commands.
#include "app/cli/cli.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "app/cli/server.hpp"
#include "app/wiring/settings_flags.hpp"
#include "lib/crypto/key_store.hpp"

namespace lucid::cli {
namespace {

struct Ran {
  int code = -1;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  Ran run(std::vector<std::string> arguments) {
    std::ostringstream out, err;
    Program program({.out = out, .err = err, .files = system_files(), .environment = [this](const char* name) -> const char* {
                       auto it = environment_.find(name);
                       return it == environment_.end() ? nullptr : it->second.c_str();
                     }});
    add_client_commands(program);
    std::vector<const char*> argv{"lucid"};
    for (const std::string& a : arguments) argv.push_back(a.c_str());
    Ran ran;
    ran.code = program.run(static_cast<int>(argv.size()), argv.data());
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }
  static std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')); }
  std::map<std::string, std::string> environment_;
  TempDir dir_;
};

const char* kId = "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e";

TEST_F(Cli, ExplainsEveryCommandWithExamplesAndExitCodes) {
  for (const char* command :
       {"record", "sessions", "start",  "pause",       "resume", "stop",  "terminate", "delete", "events",  "frame",
        "frames", "bundle",   "verify", "healthcheck", "node",   "nodes", "pools",     "poot",   "payouts", "statement"}) {
    Ran ran = run({command, "--help"});
    EXPECT_EQ(ran.code, 0) << command;
    EXPECT_NE(ran.out.find("Examples:\n  lucid "), std::string::npos) << command;
    EXPECT_NE(ran.out.find("3 server unreachable"), std::string::npos) << command;
    EXPECT_EQ(ran.err, "") << command;
  }
  EXPECT_EQ(run({"--help"}).code, 0);
  EXPECT_EQ(run({"--version"}).out.substr(0, 6), "lucid ");
}

TEST_F(Cli, AnswersWrongArgumentsWithOneLineAndCode2) {
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"record"},
                                             {"record", "--display", ":1", "--frame-rate", "61"},
                                             {"record", "--display", ":1", "--keystrokes", "some"},
                                             {"frame", kId},
                                             {"frame", kId, "--at", "x", "--out", "f"},
                                             {"events"},
                                             {"verify", "f"},
                                             {"keys"},
                                             {"node"},
                                             {"node", "join"},
                                             {"node", "join", "http://127.0.0.1:1", "--type", "king"},
                                             {"node", "drain", "x"},
                                             {"poot"},
                                             {"statement"}}) {
    Ran ran = run(wrong);
    EXPECT_EQ(ran.code, 2) << (wrong.empty() ? "" : wrong[0]);
    EXPECT_EQ(lines(ran.err), 1u) << ran.err;
    EXPECT_EQ(ran.out, "");
  }
}

TEST_F(Cli, RefusesWhatIsNoSessionIdBeforeAskingAnybody) {
  environment_ = {{"LUCID_URL", "http://127.0.0.1:1"}, {"LUCID_TOKEN", "t"}};
  for (const char* id : {"x", "../../etc/passwd", ""}) EXPECT_EQ(run({"stop", id}).code, 2) << id;
}

TEST_F(Cli, SaysThatNoServerIsThereWithCode3) {
  Ran no_directory = run({"sessions", "--data", dir_.path() + "/nothing"});
  EXPECT_EQ(no_directory.code, 3);
  EXPECT_EQ(lines(no_directory.err), 1u);
  environment_ = {{"LUCID_URL", "http://127.0.0.1:1"}, {"LUCID_TOKEN", "t"}};
  Ran nobody = run({"sessions"});
  EXPECT_EQ(nobody.code, 3);
  EXPECT_EQ(lines(nobody.err), 1u);
  EXPECT_EQ(run({"healthcheck", "--url", "http://127.0.0.1:1"}).code, 1) << "healthcheck knows only 0 and 1";
}

TEST_F(Cli, FindsTheServerByDataDirectoryBeforeTheEnvironment) {
  system_files().make_directories(dir_.path() + "/keys");
  system_files().replace_file(dir_.path() + "/endpoint.json", as_bytes(R"({"url":"http://127.0.0.1:9087","pid":1})"));
  system_files().replace_file(dir_.path() + "/keys/admin.token", as_bytes("lucid_abc\n"));
  environment_ = {{"LUCID_URL", "http://other:1"}, {"LUCID_TOKEN", "t"}};
  std::ostringstream out, err;
  Io io{out, err, system_files(), [this](const char* name) -> const char* {
          auto it = environment_.find(name);
          return it == environment_.end() ? nullptr : it->second.c_str();
        }};
  Endpoint by_data = find_server(io, {.data = dir_.path()});
  EXPECT_EQ(by_data.url, "http://127.0.0.1:9087");
  EXPECT_EQ(by_data.token, "lucid_abc");
  Endpoint by_environment = find_server(io, {});
  EXPECT_EQ(by_environment.url, "http://other:1");
  EXPECT_EQ(by_environment.token, "t");
  environment_.erase("LUCID_TOKEN");
  EXPECT_THROW(find_server(io, {}), Error);
  EXPECT_NO_THROW(find_server(io, {}, false));
  system_files().replace_file(dir_.path() + "/endpoint.json", as_bytes("garbage"));
  EXPECT_THROW(find_server(io, {.data = dir_.path()}), Error);
}

TEST_F(Cli, ShowsPublicKeysOnlyAndMakesNone) {
  EXPECT_EQ(run({"keys", "show", "--data", dir_.path() + "/none"}).code, 4);
  EXPECT_FALSE(system_files().exists(dir_.path() + "/none"));
  SystemRandom random;
  crypto::KeyStore store(dir_.path() + "/keys", system_files(), random);
  Ran shown = run({"keys", "show", "--data", dir_.path()});
  EXPECT_EQ(shown.code, 0);
  EXPECT_NE(shown.out.find(store.checkpoint_public().text()), std::string::npos);
  EXPECT_NE(shown.out.find(store.playback_public().fingerprint()), std::string::npos);
  EXPECT_EQ(shown.out.find(store.admin_token()), std::string::npos);
  EXPECT_EQ(shown.out.find("lucid-box-key"), std::string::npos);
  Ran as_json = run({"keys", "show", "--data", dir_.path(), "--json"});
  EXPECT_EQ(text_of(parse_json(as_json.out).value().at("checkpoint"), "public"), store.checkpoint_public().text());
}

TEST_F(Cli, VerifiesOnlyReadableFilesWithReadableKeys) {
  SeededRandom random(1);
  std::string key = crypto::SigningKey::make(random).verify_key().text();
  EXPECT_EQ(run({"verify", dir_.path() + "/none", "--key", key}).code, 2);
  system_files().replace_file(dir_.path() + "/junk", as_bytes("this is no bundle"));
  Ran junk = run({"verify", dir_.path() + "/junk", "--key", key, "--json"});
  EXPECT_EQ(junk.code, 2);
  EXPECT_EQ(text_of(parse_json(junk.out).value(), "verdict"), "unreadable");
  EXPECT_EQ(run({"verify", dir_.path() + "/junk", "--key", "lucid-sig-pub:AAAA"}).code, 2);
  EXPECT_EQ(run({"verify", dir_.path() + "/junk", "--key", dir_.path() + "/none"}).code, 2);
}

TEST(ExitCodes, FollowTheKindOfError) {
  EXPECT_EQ(exit_code(Error(ErrorKind::invalid, "x")), 2);
  EXPECT_EQ(exit_code(Error(ErrorKind::unavailable, "unreachable", "x")), 3);
  EXPECT_EQ(exit_code(Error(ErrorKind::unavailable, "display_unavailable", "x")), 1);
  EXPECT_EQ(exit_code(Error(ErrorKind::not_found, "x")), 4);
  EXPECT_EQ(exit_code(Error(ErrorKind::conflict, "x")), 5);
  EXPECT_EQ(exit_code(Error(ErrorKind::corrupt, "x")), 1);
  EXPECT_EQ(exit_code(Error(ErrorKind::unauthorized, "x")), 1);
}

TEST(SettingsFlags, AreNamesWithValues) {
  app::Flags flags = app::read_flags({"--data", "/d", "--log_level=debug", "--config=/c", "--session-api.port=0", "--empty="});
  EXPECT_EQ(flags.settings,
            (std::map<std::string, std::string>{{"data_dir", "/d"}, {"log_level", "debug"}, {"session-api.port", "0"}, {"empty", ""}}));
  EXPECT_EQ(flags.config_file, "/c");
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"x"}, {"--"}, {"-d=x"}, {"--data"}, {"--log_level", "debug"}, {"--a=1", "--a=2"}})
    EXPECT_THROW(app::read_flags(wrong), Error) << wrong[0];
}

}  // namespace
}  // namespace lucid::cli
