// Structs read from JSON: every field type, and errors that name the key's path.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

struct Stage {
  int64_t steps = 3;
  double peak_lr = 0.5;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("steps", steps);
    field("peak_lr", peak_lr);
  }
};

struct Recipe {
  std::string name = "none";
  bool fast = false;
  std::optional<int64_t> limit;
  std::vector<Stage> stages;
  Stage last;
  Json extra;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name);
    field("fast", fast);
    field("limit", limit);
    field("stages", stages);
    field("last", last);
    field("extra", extra);
  }
};

Recipe read(const std::string& text) {
  Recipe recipe;
  read_fields(parse_json(text, "recipe.json"), "recipe.json", recipe);
  return recipe;
}

TEST(Json, reads_every_field_type) {
  const Recipe recipe =
      read(R"({"name": "tiny", "fast": true, "limit": 9, "stages": [{"steps": 1}, {"peak_lr": 2}],
                                 "last": {"steps": 4}, "extra": [1, "x"]})");
  EXPECT_EQ(recipe.name, "tiny");
  EXPECT_TRUE(recipe.fast);
  EXPECT_EQ(recipe.limit, 9);
  ASSERT_EQ(recipe.stages.size(), 2u);
  EXPECT_EQ(recipe.stages[0].steps, 1);
  EXPECT_EQ(recipe.stages[1].peak_lr, 2);
  EXPECT_EQ(recipe.last.steps, 4);
  EXPECT_EQ(recipe.extra.dump(), R"([1,"x"])");
}

TEST(Json, missing_keys_keep_their_defaults) {
  const Recipe recipe = read("{}");
  EXPECT_EQ(recipe.name, "none");
  EXPECT_EQ(recipe.last.steps, 3);
  EXPECT_FALSE(recipe.limit);
}

TEST(Json, null_is_an_empty_optional) {
  Recipe recipe;
  recipe.limit = 5;
  read_fields(parse_json(R"({"limit": null})", "recipe.json"), "recipe.json", recipe);
  EXPECT_FALSE(recipe.limit);
}

TEST(Json, write_then_read_gives_the_same_fields_in_order) {
  Recipe recipe;
  recipe.name = "x";
  recipe.stages = {{7, 0.25}};
  const std::string text = write_fields(recipe).dump();
  EXPECT_EQ(text, R"({"name":"x","fast":false,"limit":null,"stages":[{"steps":7,"peak_lr":0.25}],)"
                  R"("last":{"steps":3,"peak_lr":0.5},"extra":null})");
  EXPECT_EQ(write_fields(read(text)).dump(), text);
}

TEST(Json, unknown_key_is_named_with_its_path) {
  EXPECT_ERROR(read(R"({"last": {"stepz": 4}})"),
               "recipe.json: last: unknown key \"stepz\", expected one of: peak_lr, steps");
}

TEST(Json, value_of_the_wrong_kind_is_named_with_its_path) {
  EXPECT_ERROR(read(R"({"stages": [{}, {"steps": "4"}]})"),
               "recipe.json: stages[1]: steps: expected an integer, found a string");
  EXPECT_ERROR(read(R"({"stages": {}})"),
               "recipe.json: stages: expected an array, found an object");
  EXPECT_ERROR(read(R"({"last": {"steps": 1.5}})"),
               "recipe.json: last: steps: expected an integer, found a number");
  EXPECT_ERROR(read(R"({"fast": 1})"), "recipe.json: fast: expected a boolean, found an integer");
  EXPECT_ERROR(read(R"({"name": null})"), "recipe.json: name: expected a string, found null");
  EXPECT_ERROR(read("[]"), "recipe.json: expected an object, found an array");
}

TEST(Json, text_that_is_no_json_is_named) {
  EXPECT_ERROR(read(R"({"name": )"), "recipe.json: expected JSON, found a syntax error at byte 10");
  EXPECT_ERROR(read(R"({"name": 1e999})"), "recipe.json: expected JSON, found a number out of");
}

TEST(Json, integers_beyond_64_bits_are_refused) {
  EXPECT_ERROR(read(R"({"last": {"steps": 9223372036854775808}})"),
               "last: steps: expected an integer of at most 9223372036854775807, found 92233720");
}

TEST(Json, the_first_difference_names_its_key_and_spells_out_no_sections) {
  const Json section = {{"a", {{"b", 1}, {"c", {1, 2}}}}};
  EXPECT_EQ(first_difference(section, section), "");
  EXPECT_EQ(first_difference(section, {{"a", {{"b", 2}}}}), "a.b: expected 1, found 2");
  EXPECT_EQ(first_difference(section, {{"a", {{"b", 1}, {"c", {1}}}}}),
            "a.c: expected [1,2], found [1]");
  EXPECT_EQ(first_difference(section, {{"a", nullptr}}), "a: expected a section, found null");
  EXPECT_EQ(first_difference({{"a", nullptr}}, section), "a: expected null, found a section");
  EXPECT_EQ(first_difference(Json::object(), section), "a: expected nothing, found a section");
  EXPECT_EQ(first_difference(section, Json::object()), "a: expected a section, found nothing");
}

TEST(Json, a_file_that_is_something_else_is_named) {
  const TemporaryFolder folder;
  write_file(folder / "a.json", "<!DOCTYPE html>\n<html>");
  EXPECT_ERROR(read_json(folder / "a.json"), "a.json: expected JSON, found an HTML page");
  write_file(folder / "a.json", "");
  EXPECT_ERROR(read_json(folder / "a.json"), "a.json: expected JSON, found an empty file");
  write_file(folder / "a.json", "{\n\"a\": 1,\n}");
  EXPECT_ERROR(read_json(folder / "a.json"), "found a syntax error at byte 11 (line 3)");
}

TEST(Json, file_round_trip_keeps_the_order_of_keys) {
  const TemporaryFolder folder;
  write_json(folder / "a.json", parse_json(R"({"b": 1, "a": [true, null]})", "text"));
  EXPECT_EQ(read_json(folder / "a.json").dump(), R"({"b":1,"a":[true,null]})");
}

TEST(Json, invalid_utf8_is_written_as_replacement_characters) {
  const TemporaryFolder folder;
  write_json(folder / "a.json", Json("a\xff"));
  EXPECT_EQ(read_file(folder / "a.json"), "\"a\xEF\xBF\xBD\"\n");
}

TEST(Json, missing_file_is_named) {
  const TemporaryFolder folder;
  EXPECT_ERROR(read_json(folder / "none.json"),
               (folder / "none.json").string() + ": cannot open: No such file");
}

}  // namespace
}  // namespace hypenet
