// Records out of every kind of file, and errors that name file and line.
#include "data/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/files.h"
#include "data/documents.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;

std::vector<Json> records(const fs::path& file) {
  std::vector<Json> found;
  for_each_record(file, [&](const Json& record) {
    found.push_back(record);
    return true;
  });
  return found;
}

class Records : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& bytes) {
    write_file(folder_ / name, bytes);
    return folder_ / name;
  }

  const std::vector<Json> two_ = {parse_json(R"({"a": 1, "b": ["x", null]})", "a"),
                                  parse_json(R"({"a": {"c": "é"}})", "b")};
  TemporaryFolder folder_;
};

TEST_F(Records, lines_and_arrays_of_objects_are_the_same_records) {
  const std::string lines = two_[0].dump() + "\n\n" + two_[1].dump();
  EXPECT_EQ(records(write("a.jsonl", lines)), two_);
  EXPECT_EQ(records(write("a.json", Json(two_).dump())), two_);
  gzFile file = gzopen((folder_ / "a.jsonl.gz").c_str(), "wb");
  gzwrite(file, lines.data(), static_cast<unsigned>(lines.size()));
  gzclose(file);
  EXPECT_EQ(records(folder_ / "a.jsonl.gz"), two_);
}

TEST_F(Records, parquet_s_lists_and_structs_become_arrays_and_objects) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  const fs::path hub = HYPENET_TEST_DATA "/harness/hub";
  const auto arc = records(hub / "ai2_arc/ARC-Easy/test-00000-of-00001.parquet");
  ASSERT_EQ(arc.size(), 3);  // in two row groups
  EXPECT_EQ(arc[1],
            parse_json(R"({"id": "made_up_2", "question": "What does a thermometer measure?",
      "choices": {"text": ["length", "mass", "time", "force", "temperature"],
                  "label": ["A", "B", "C", "D", "E"]}, "answerKey": "E"})",
                       "arc"));
  const auto mmlu = records(hub / "mmlu/astronomy/test-00000-of-00001.parquet");
  EXPECT_EQ(mmlu[1].at("choices")[3], " a mass ");
  EXPECT_EQ(mmlu[0].at("answer"), 3);
}

TEST_F(Records, reading_stops_when_told_to) {
  for (const fs::path& file : {write("a.jsonl", "{}\nbroken\n"), write("a.json", "[{}, 7]")}) {
    int seen = 0;
    for_each_record(file, [&](const Json&) { return ++seen < 1; });
    EXPECT_EQ(seen, 1);
  }
}

TEST_F(Records, what_is_no_record_is_named) {
  EXPECT_ERROR(records(write("a.jsonl", "{}\n[1]\n")),
               "a.jsonl:2: expected an object, found an array");
  EXPECT_ERROR(records(write("a.json", "{}")), "a.json: expected an array of objects, found an");
  EXPECT_ERROR(records(write("a.json", "[{}, 7]")),
               "a.json, record 2: expected an object, found an integer");
  EXPECT_ERROR(records(write("a.csv", "")), "a.csv: expected a file ending in .jsonl");
  EXPECT_ERROR(records(folder_ / "none.jsonl"), "none.jsonl: cannot open");
}

TEST_F(Records, an_error_of_the_caller_gets_the_place) {
  const auto refuse = [](const Json& record) -> bool {
    throw Error(concat("no ", record.at("a").get<int>()));
  };
  EXPECT_ERROR(for_each_record(write("a.jsonl", "\n{\"a\": 5}\n"), refuse), "a.jsonl:2: no 5");
  EXPECT_ERROR(for_each_record(write("a.json", "[{\"a\": 6}]"), refuse), "a.json, record 1: no 6");
  EXPECT_ERROR(for_each_record(write("a.jsonl", "{\"b\": 5}\n"), refuse),
               "a.jsonl:1: expected other fields, found these (key 'a' not found)");
}

TEST_F(Records, a_file_of_one_value_is_used_whole) {
  Json found;
  use_json(write("a.json", "[7]"), [&](const Json& json) { found = json; });
  EXPECT_EQ(found, parse_json("[7]", "a"));
  EXPECT_ERROR(use_json(write("a.json", "7"), [](const Json& json) { json.at("a"); }),
               "a.json: expected other fields, found these (cannot use at()");
}

}  // namespace
}  // namespace hypenet
