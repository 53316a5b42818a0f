// Python's word for infinity, and texts that hold it.
#include "base/python_json.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

TEST(PythonJson, bare_infinity_is_a_string) {
  const Json json = parse_json(with_quoted_infinity(R"({"limit": [0.0, Infinity]})"), "text");
  EXPECT_EQ(json.at("limit")[1], "Infinity");
}

TEST(PythonJson, strings_stay_as_they_are) {
  const std::string text = R"({"a \"Infinity\"": "Infinity", "b\\": "no \\\"Infinity"})";
  EXPECT_EQ(with_quoted_infinity(text), text);
  EXPECT_EQ(with_quoted_infinity(R"("\)"), R"("\)") << "cut behind an escape";
}

}  // namespace
}  // namespace hypenet
