#include "lib/base/json.hpp"

#include <gtest/gtest.h>

using namespace lucid;

TEST(ParseJson, RefusesDeepLargeAndMalformedText) {
  EXPECT_EQ(parse_json("{").error().kind(), ErrorKind::malformed);
  EXPECT_EQ(parse_json(std::string(100, '[')).error().kind(), ErrorKind::malformed);
  EXPECT_EQ(parse_json("[1,2]", 3).error().kind(), ErrorKind::too_large);
  EXPECT_FALSE(parse_json("{\"a\":\"\xff\"}"));
}

TEST(FieldReader, NamesEveryRefusedFieldAtOnce) {
  auto value = parse_json(R"({"name":"","rate":61,"tags":["ok",7],"nested":{"x":true,"y":1},"ex/t~ra":1})").value();
  FieldReader in(value);
  in.text("name", {.min = 1, .max = 255});
  in.integer_or("rate", 15, 1, 60);
  in.texts_or_empty("tags", 10, {.min = 1, .max = 50});
  in.integer("missing", 0, 1);
  FieldReader nested = in.child("nested");
  nested.integer_or("x", 0, 0, 9);
  nested.finish_child();
  try {
    in.finish();
    FAIL() << "finish() must throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    std::vector<std::string> pointers;
    for (const auto& f : e.fields()) pointers.push_back(f.pointer);
    EXPECT_EQ(pointers, (std::vector<std::string>{"/name", "/rate", "/tags/1", "/missing", "/nested/x", "/nested/y", "/ex~1t~0ra"}));
  }
}
