// The protobuf of spans: one request byte for byte, and many read back by a small reader that shares nothing with the writer. (The official
// classes of OpenTelemetry read it in tests/interop/otlp.py.)
#include "lib/runtime/otlp.hpp"

#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"

using namespace lucid;
using namespace lucid::runtime;
using net::Span;
using testing::HasSubstr;

namespace {

// Every field of a message: numbers as they are, bytes as text. Throws where bytes are not protobuf.
struct Field {
  std::uint32_t number;
  std::uint64_t value = 0;
  std::string bytes;
};

std::vector<Field> fields_of(std::string_view in) {
  std::vector<Field> out;
  std::size_t at = 0;
  auto byte = [&] { return static_cast<std::uint8_t>(in.at(at++)); };
  auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      std::uint8_t b = byte();
      value += std::uint64_t(b % 128) << shift;
      if (b < 128) return value;
    }
  };
  while (at < in.size()) {
    std::uint64_t tag = varint();
    Field field{static_cast<std::uint32_t>(tag / 8), 0, {}};
    if (tag % 8 == 0) field.value = varint();
    if (tag % 8 == 1 || tag % 8 == 5)
      for (int i = 0; i < (tag % 8 == 1 ? 8 : 4); ++i) field.value += std::uint64_t(byte()) << (8 * i);
    if (tag % 8 == 2) {
      std::uint64_t size = varint();
      if (size > in.size() - at) throw std::runtime_error("longer than the message");
      field.bytes = in.substr(at, size);
      at += size;
    }
    out.push_back(std::move(field));
  }
  return out;
}

// The only field of that number, or an empty one.
Field only(std::string_view message, std::uint32_t number) {
  Field found{number, 0, {}};
  int count = 0;
  for (Field& field : fields_of(message))
    if (field.number == number && ++count > 0) found = std::move(field);
  EXPECT_LE(count, 1) << "field " << number;
  return found;
}

std::map<std::string, std::string> attributes_of(std::string_view message, std::uint32_t number) {
  std::map<std::string, std::string> out;
  for (const Field& field : fields_of(message)) {
    if (field.number != number) continue;
    std::string value = only(field.bytes, 2).bytes;
    std::string text = only(value, 1).bytes;
    EXPECT_TRUE(out.emplace(only(field.bytes, 1).bytes, text.empty() ? std::to_string(only(value, 3).value) : text).second);
  }
  return out;
}

template <std::size_t N>
std::string text_of(const std::array<std::uint8_t, N>& bytes) {
  return {bytes.begin(), bytes.end()};
}

Span server_span() {
  Span span;
  span.kind = Span::Kind::server;
  span.context = *net::SpanContext::parse("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
  span.parent = net::SpanContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")->span_id;
  span.start_ns = 1'544'712'660'000'000'000;
  span.end_ns = 1'544'712'661'000'000'001;
  span.method = "GET";
  span.route = "/api/v1/sessions/{id}";
  span.path = "/api/v1/sessions/7";
  span.status = 200;
  return span;
}

Span client_span() {
  Span span;
  span.kind = Span::Kind::client;
  span.context = *net::SpanContext::parse("00-0af7651916cd43dd8448eb211c80319c-1234567890abcdef-01");
  span.parent = server_span().context.span_id;
  span.start_ns = 1'544'712'660'100'000'000;
  span.end_ns = 1'544'712'660'200'000'000;
  span.method = "PUT";
  span.path = "/api/v1/x";
  span.scheme = "https";
  span.host = "storage";
  span.port = 8443;
  span.url = "https://storage:8443/api/v1/x";
  span.status = 503;
  span.error = "503";
  return span;
}

}  // namespace

TEST(Otlp, ARequestIsTheSameBytesAsEver) {
  Span server = server_span(), client = client_span();
  std::vector<OtlpResource> resources{{"session-api", "0.1.0", "0190", {&server, &client}}, {"session-storage", "0.1.0", "0190", {}}};
  Bytes made = encode_export_request(resources);
  const std::string path = "tests/golden/otlp/v1/request.bin";
  if (const char* write = std::getenv("LUCID_WRITE_GOLDEN"); write != nullptr && std::string_view(write) == "1") {
    system_files().make_directories("tests/golden/otlp/v1");
    system_files().replace_file(path, made);
  }
  EXPECT_EQ(made, system_files().read_file(path));
}

TEST(Otlp, EveryFieldStandsWhereTheProtocolHasIt) {
  Span server = server_span(), client = client_span();
  Bytes made = encode_export_request(std::vector<OtlpResource>{{"session-api", "0.1.0", "0190", {&server, &client}}});
  std::string resource_spans = only(as_text(made), 1).bytes;
  EXPECT_THAT(attributes_of(only(resource_spans, 1).bytes, 1),
              testing::ElementsAre(std::pair("service.instance.id", "0190"), std::pair("service.name", "session-api"),
                                   std::pair("service.version", "0.1.0")));
  std::string scope_spans = only(resource_spans, 2).bytes;
  EXPECT_EQ(only(only(scope_spans, 1).bytes, 1).bytes, "lucid.net");
  std::vector<Field> inner = fields_of(scope_spans);
  ASSERT_EQ(inner.size(), 3u);
  std::string first = inner[1].bytes, second = inner[2].bytes;
  EXPECT_EQ(only(first, 1).bytes, text_of(server.context.trace_id));
  EXPECT_EQ(only(first, 2).bytes, text_of(server.context.span_id));
  EXPECT_EQ(only(first, 4).bytes, text_of(server.parent));
  EXPECT_EQ(only(first, 5).bytes, "GET /api/v1/sessions/{id}");
  EXPECT_EQ(only(first, 6).value, 2u);
  EXPECT_EQ(only(first, 7).value, 1'544'712'660'000'000'000u);
  EXPECT_EQ(only(first, 8).value, 1'544'712'661'000'000'001u);
  EXPECT_EQ(only(first, 16).value, 0x301u) << "sampled, and its parent is another process's";
  EXPECT_EQ(only(first, 15).bytes, "");
  std::map<std::string, std::string> of_server{{"http.request.method", "GET"},
                                               {"http.route", "/api/v1/sessions/{id}"},
                                               {"http.response.status_code", "200"},
                                               {"url.path", "/api/v1/sessions/7"}};
  EXPECT_EQ(attributes_of(first, 9), of_server);
  EXPECT_EQ(only(second, 5).bytes, "PUT");
  EXPECT_EQ(only(second, 6).value, 3u);
  EXPECT_EQ(only(second, 16).value, 0x101u);
  EXPECT_EQ(only(only(second, 15).bytes, 3).value, 2u) << "status: error";
  EXPECT_EQ(attributes_of(second, 9)["server.port"], "8443");
  EXPECT_EQ(attributes_of(second, 9)["error.type"], "503");
  EXPECT_EQ(attributes_of(second, 9)["url.full"], "https://storage:8443/api/v1/x");
}

TEST(Otlp, WhateverASpanHoldsComesOutWhole) {
  std::mt19937 random(5);
  auto text = [&](std::size_t most) {
    std::string out(random() % (most + 1), '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<Span> spans(random() % 40);
    std::vector<const Span*> pointers;
    for (Span& span : spans) {
      span.kind = random() % 2 == 0 ? Span::Kind::server : Span::Kind::client;
      for (auto& b : span.context.trace_id) b = static_cast<std::uint8_t>(random());
      for (auto& b : span.context.span_id) b = static_cast<std::uint8_t>(random());
      span.start_ns = static_cast<std::int64_t>(random()) << 20;
      span.end_ns = span.start_ns + static_cast<std::int64_t>(random());
      span.method = "GET";
      span.route = text(300);
      span.path = text(1500);
      span.error = random() % 2 == 0 ? text(20) : "";
      span.status = static_cast<int>(random() % 600);
      span.port = static_cast<std::uint16_t>(random());
      pointers.push_back(&span);
    }
    Bytes made = encode_export_request(std::vector<OtlpResource>{{text(50), text(5), "i", pointers}});
    std::vector<Field> inner = fields_of(only(only(as_text(made), 1).bytes, 2).bytes);
    ASSERT_EQ(inner.size(), spans.size() + 1);
    for (std::size_t i = 0; i < spans.size(); ++i) {
      std::string_view span = inner[i + 1].bytes;
      auto attributes = attributes_of(span, 9);
      EXPECT_EQ(only(span, 2).bytes, text_of(spans[i].context.span_id));
      EXPECT_EQ(only(span, 8).value, static_cast<std::uint64_t>(spans[i].end_ns));
      EXPECT_EQ(attributes["url.path"], to_utf8(spans[i].path, 1024));
      EXPECT_EQ(attributes["http.response.status_code"], spans[i].status == 0 ? "" : std::to_string(spans[i].status));
      EXPECT_EQ(only(span, 15).bytes.empty(), spans[i].error.empty());
      for (const auto& [key, value] : attributes) EXPECT_TRUE(is_utf8(key) && is_utf8(value));
    }
  }
}

TEST(Otlp, RejectedSpansAreReadFromTheAnswer) {
  auto read = [](std::initializer_list<std::uint8_t> bytes) { return rejected_spans(Bytes(bytes)); };
  EXPECT_EQ(read({}), 0u);
  EXPECT_EQ(read({0x0a, 0x02, 0x08, 0x05}), 5u);
  EXPECT_EQ(read({0x0a, 0x05, 0x12, 0x01, 'x', 0x08, 0x07}), 7u) << "the message may stand first";
  EXPECT_EQ(read({0x12, 0x01, 'x', 0x0a, 0x03, 0x08, 0x80, 0x01}), 128u) << "so may fields of later versions";
  EXPECT_EQ(read({0x0a, 0x03, 0x12, 0x01, 'x'}), 0u);
  for (auto bad :
       std::initializer_list<std::initializer_list<std::uint8_t>>{{0x0a},
                                                                  {0x0a, 0x7f, 0x08},
                                                                  {0x0a, 0x02, 0x08},
                                                                  {0x0a, 0x02, 0x08, 0x80},
                                                                  {0xff, 0xff},
                                                                  {0x0b, 0x00},
                                                                  {0x09, 0x00},
                                                                  {'<', 'h'},
                                                                  {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}})
    EXPECT_EQ(read(bad), 0u);
}
