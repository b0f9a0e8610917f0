#include "lib/recording/records.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "lib/base/json.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/recording/frame_encoder.hpp"
#include "lib/recording/player.hpp"
#include "lib/recording/record_layout.hpp"
#include "lib/recording/test_screen.hpp"

namespace lucid::recording {
namespace {

Hash32 digest_of(std::string_view text) { return crypto::sha256(as_bytes(text)); }

// One of every kind, with every field set.
std::vector<Record> one_of_each() {
  return {
      {0, ScreenSize{1920, 1080, 24}},
      {0, Keyframe{KeyframeKind::diff, 7}},
      {5, Tile{{64, 128, 2, 1}, TileCodec::rgb, {1, 2, 3, 4, 5, 6}}},
      {5, Copy{{10, 40, 600, 400}, 10, 26}},
      {5, Restore{RestoreFrom::kept, {640, 384, 700, 20}}},
      {127, FrameEnd{8, true, digest_of("frame")}},
      {128, CursorShape{2, 1, 1, 0, {1, 2, 3, 255, 4, 5, 6, 128}}},
      {129, CursorPosition{-3, 700, false}},
      {16383, Key{KeyAction::press, 0xe4, 1, false, "\xc3\xa4"}},
      {16384, PointerButton{12, 34, 3, true}},
      {16385, PointerMotion{56, -78}},
      {2'000'000, Window{WindowAction::focused, 0x1e00007, 4711, {5, 6, 700, 500}, "Notes", "xterm.XTerm", "/usr/bin/xterm"}},
      {2'097'152, Process{true, 99, "/bin/ls", {"ls", "-l", ""}}},
      {2'097'153, Screen{ScreenState::locked}},
      {2'097'154, Clipboard{"CLIPBOARD", 42, {"UTF8_STRING", "text/html"}, 5, digest_of("hello"), "hello", false}},
      {2'097'155, FileTransfer{"report.pdf", 1'234'567'890'123, digest_of("file"), false}},
      {2'097'156, Gap{1000, 61000, GapReason::spool_lost, "disk replaced"}},
      {2'097'157, Pause{true}},
      {2'097'158, Annotation{"auditor", "look here"}},
      {2'097'159, Quality{"hot tiles at 3 fps"}},
      {4'398'046'511'104, End{EndReason::terminated}},
  };
}

Bytes written(const std::vector<Record>& records) {
  Bytes out;
  for (const Record& record : records) append(out, record);
  return out;
}
Expected<std::vector<Record>> read_all(ByteView stream) {
  std::vector<Record> out;
  RecordReader reader(stream);
  for (;;) {
    auto record = reader.next();
    if (!record) return std::unexpected(record.error());
    if (!*record) return out;
    out.push_back(**record);
  }
}

// Compares with tests/golden/record-stream/v1/NAME; writes it only when LUCID_WRITE_GOLDEN=1.
void expect_golden(const std::string& name, const Bytes& bytes) {
  const std::filesystem::path path = std::filesystem::path("tests/golden/record-stream/v1") / name;
  if (const char* write = std::getenv("LUCID_WRITE_GOLDEN"); write != nullptr && std::string_view(write) == "1") {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  std::ifstream in(path, std::ios::binary);
  ASSERT_TRUE(in) << path << " is missing";
  const Bytes golden{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(to_hex(golden), to_hex(bytes)) << path;
}

TEST(Records, EveryKindHasItsGoldenBytesAndSurvivesWritingAndReading) {
  std::set<std::size_t> kinds;
  for (const Record& record : one_of_each()) {
    kinds.insert(record.payload.index());
    const Bytes stream = written({record});
    expect_golden(std::string(kind_name(record.payload)) + ".bin", stream);
    auto back = read_all(stream);
    ASSERT_TRUE(back) << back.error().what();
    ASSERT_EQ(back->size(), 1u);
    EXPECT_EQ(back->front().ms, record.ms);
    EXPECT_EQ(back->front().payload.index(), record.payload.index());
    EXPECT_EQ(to_json_text(back->front()), to_json_text(record));
    EXPECT_EQ(written(*back), stream);
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<Payload>);
}

TEST(Records, TheEventsAsJsonAreGolden) {
  std::string lines;
  for (const Record& record : one_of_each()) lines += to_json_text(record) + "\n";
  expect_golden("records.jsonl", Bytes(lines.begin(), lines.end()));
}

TEST(Records, AnEncodedPictureIsGolden) {
  test::TestScreen screen(150, 100, 3);
  screen.text(10, 70, 12);
  screen.photo({70, 5, 40, 30});
  EncoderConfig config;
  config.digests = Digests::all;
  config.diff_keyframe_ms = 300;
  FrameEncoder encoder(config);
  Bytes stream;
  encoder.resize(150, 100, 0, stream);
  encoder.update(0, screen.views({screen.all()}), {}, true, stream);
  screen.take_damage();
  screen.move_window({70, 5, 40, 30}, 90, 40, 0x336699);
  encoder.update(200, screen.views(screen.take_damage()), {{{{70, 5, 40, 30}, 90, 40}}}, false, stream);
  screen.noise({3, 3, 20, 10}, 5);
  encoder.update(400, screen.views(screen.take_damage()), {}, false, stream);
  encoder.update(400, screen.views({screen.all()}), {}, true, stream);
  expect_golden("picture.stream", stream);

  Player player;
  RecordReader reader(stream);
  while (auto record = *reader.next()) ASSERT_TRUE(player.apply(*record));
  EXPECT_EQ(player.picture().number, 3u);
  EXPECT_EQ(player.picture().pixels, screen.pixels());
}

TEST(Records, AWindowThatWentAwayIsGoldenAndReferredToTheFullKeyframe) {
  test::TestScreen screen(150, 100, 4);
  screen.photo(screen.all());
  const std::vector<std::uint32_t> wallpaper = screen.pixels();
  EncoderConfig config;
  config.digests = Digests::all;
  FrameEncoder encoder(config);
  Bytes stream;
  encoder.resize(150, 100, 0, stream);
  encoder.update(0, screen.views({screen.all()}), {}, true, stream);
  screen.fill({20, 10, 100, 60}, 0xffffff);
  encoder.update(200, screen.views({{20, 10, 100, 60}}), {}, false, stream);
  const std::size_t before = stream.size();
  screen.put_back({20, 10, 100, 60}, wallpaper);
  screen.at(70, 30) ^= 0xff;  // all but one pixel
  encoder.update(400, screen.views({{20, 10, 100, 60}}), {}, false, stream);
  EXPECT_LT(stream.size() - before, 200u);
  expect_golden("restored.stream", stream);

  Player player;
  RecordReader reader(stream);
  while (auto record = *reader.next()) ASSERT_TRUE(player.apply(*record));
  EXPECT_EQ(player.picture().number, 2u);
  EXPECT_EQ(player.picture().pixels, screen.pixels());
}

TEST(Records, UnknownTypesAreSkippedAndPositionFollows) {
  Bytes stream = written({{1, Pause{true}}});
  const std::size_t first = stream.size();
  const Bytes future = {0xf0, 0x03, 9, 9, 9, 0x77, 0x00};
  stream.insert(stream.end(), future.begin(), future.end());
  append(stream, {2, Pause{false}});
  RecordReader reader(stream);
  ASSERT_TRUE(*reader.next());
  EXPECT_EQ(reader.position(), first);
  auto second = reader.next();
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->ms, 2);
  EXPECT_EQ(reader.position(), stream.size());
  EXPECT_FALSE(*reader.next());
}

TEST(Records, PiecesWrittenApartReadAsOneStream) {
  Bytes whole = written({{1, Pause{true}}});
  const Bytes other = written({{2, Pause{false}}});
  whole.insert(whole.end(), other.begin(), other.end());
  EXPECT_EQ(read_all(whole)->size(), 2u);
}

TEST(Records, AStreamWithoutOrWithAnotherVersionIsRefused) {
  EXPECT_TRUE(read_all(Bytes{})->empty());
  EXPECT_FALSE(read_all(Bytes{0x51, 0x02, 0x00, 0x01}));
  EXPECT_FALSE(read_all(Bytes{0x01, 0x02, 0x00, 0x02}));
  EXPECT_FALSE(read_all(Bytes{0x01, 0x03, 0x00, 0x01, 0x01}));
  EXPECT_TRUE(read_all(Bytes{0x01, 0x02, 0x00, 0x01}));
}

TEST(Records, EveryCutStreamIsRefusedWithItsOffset) {
  for (const Record& record : one_of_each()) {
    const Bytes stream = written({record});
    for (std::size_t n = 5; n < stream.size(); ++n) {
      auto result = read_all(ByteView(stream).first(n));
      ASSERT_FALSE(result) << kind_name(record.payload) << " cut to " << n;
      EXPECT_EQ(result.error().kind(), ErrorKind::malformed);
      EXPECT_NE(std::string(result.error().what()).find("offset 4"), std::string::npos);
    }
  }
}

TEST(Records, ValuesNoWriterWritesAreRefused) {
  auto refused = [](std::string_view hex) {
    Bytes stream = *from_hex("01020001" + std::string(hex));
    return !read_all(stream);
  };
  EXPECT_FALSE(refused("51020001"));
  EXPECT_TRUE(refused("51020002")) << "a flag of 2";
  EXPECT_TRUE(refused("5103000100")) << "a byte too many";
  EXPECT_TRUE(refused("5182000001")) << "length not in its shortest form";
  EXPECT_TRUE(refused("5103800001")) << "time not in its shortest form";
  EXPECT_TRUE(refused("51ffffff7f00")) << "longer than 16 MiB";
  EXPECT_TRUE(
      refused("100600"
              "0000"
              "3804"
              "18"))
      << "a screen of no width";
  EXPECT_TRUE(
      refused("100600"
              "0040"
              "0040"
              "18"))
      << "a screen of 256 Mi pixels";
  EXPECT_TRUE(
      refused("120b00"
              "3f00"
              "0000"
              "0201"
              "00"
              "010203"))
      << "a tile across two tiles";
  EXPECT_TRUE(
      refused("120b00"
              "0000"
              "0000"
              "0001"
              "00"
              "010203"))
      << "an empty tile";
  EXPECT_TRUE(
      refused("120b00"
              "0000"
              "0000"
              "0101"
              "05"
              "010203"))
      << "an unknown codec";
  EXPECT_TRUE(
      refused("130d00"
              "0000"
              "0000"
              "0000"
              "0100"
              "0000"
              "0000"))
      << "an empty copy";
  EXPECT_TRUE(
      refused("170a00"
              "00"
              "0000"
              "0000"
              "0000"
              "0100"))
      << "an empty restore";
  EXPECT_TRUE(
      refused("170a00"
              "00"
              "ff3f"
              "0000"
              "0200"
              "0100"))
      << "a restore outside the largest screen";
  EXPECT_TRUE(
      refused("170a00"
              "02"
              "0000"
              "0000"
              "0100"
              "0100"))
      << "a restore from nowhere";
  EXPECT_TRUE(
      refused("200d00"
              "0001"
              "61000000"
              "0000"
              "00000000"))
      << "a masked key that tells its keysym";
  EXPECT_TRUE(
      refused("530600"
              "01000000"
              "ff"))
      << "text that is not UTF-8";
  EXPECT_TRUE(
      refused("530500"
              "01100000"))
      << "text above its limit";
}

TEST(Records, TextsAreCutAndMadeValidAndSecretsNeverWritten) {
  const std::string long_text(200'000, 'x');
  const Bytes stream = written({{1, Window{WindowAction::changed, 1, 1, {}, long_text, "\xff\xfe", ""}},
                                {2, Clipboard{"PRIMARY", 1, {}, 9, std::nullopt, long_text, false}},
                                {3, Annotation{long_text, "ok"}},
                                {4, Key{KeyAction::press, 0x73, 0, true, "secret"}},
                                {5, Clipboard{"PRIMARY", 1, {"a"}, 6, digest_of("secret"), "secret", true}},
                                {-5, Process{true, 1, "", std::vector<std::string>(1000, "a")}}});
  auto records = read_all(stream);
  ASSERT_TRUE(records) << records.error().what();
  const Window& window = std::get<Window>((*records)[0].payload);
  EXPECT_EQ(window.title.size(), 1024u);
  EXPECT_EQ(window.wm_class, "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(std::get<Clipboard>((*records)[1].payload).text.size(), 65536u);
  EXPECT_EQ(std::get<Annotation>((*records)[2].payload).author.size(), 4096u);
  EXPECT_EQ(std::get<Key>((*records)[3].payload).keysym, 0u);
  EXPECT_FALSE(std::get<Clipboard>((*records)[4].payload).sha256);
  EXPECT_EQ(as_text(stream).find("secret"), std::string_view::npos);
  EXPECT_EQ((*records)[5].ms, 0);
  EXPECT_EQ(std::get<Process>((*records)[5].payload).argv.size(), 256u);
}

TEST(Records, AnOversizeOrShortCursorIsStillReadable) {
  auto records = read_all(written({{1, CursorShape{1500, 2, 0, 0, Bytes(1500 * 4, 7)}}}));
  ASSERT_TRUE(records) << records.error().what();
  const CursorShape& shape = std::get<CursorShape>(records->front().payload);
  EXPECT_EQ(shape.width, 1024);
  ASSERT_EQ(shape.argb.size(), 1024u * 2 * 4);
  EXPECT_EQ(shape.argb[1023 * 4], 7);
  EXPECT_EQ(shape.argb[1024 * 4], 0);
}

TEST(Records, JsonIsValidWhateverTheTexts) {
  for (Record record : one_of_each()) EXPECT_TRUE(parse_json(to_json_text(record))) << to_json_text(record);
  const Record nasty{1, Window{WindowAction::created, 1, 2, {}, "\"\\\n\x01\xff</script>", std::string("\0a", 2), "\xed\xa0\x80"}};
  auto value = parse_json(to_json_text(nasty));
  ASSERT_TRUE(value) << to_json_text(nasty);
  EXPECT_EQ(value->at("title").as_string(), "\"\\\n\x01\xef\xbf\xbd</script>");
  EXPECT_EQ(value->at("kind").as_string(), "window");
}

TEST(Records, OnlyThePictureGroupIsNoEvent) {
  std::string events;
  for (const Record& record : one_of_each())
    if (!is_event(record.payload)) events += std::string(kind_name(record.payload)) + " ";
  EXPECT_EQ(events, "screen_size keyframe tile copy restore frame_end cursor_shape cursor_position ");
}

}  // namespace
}  // namespace lucid::recording
