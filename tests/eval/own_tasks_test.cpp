// Files of a user's own items: both kinds, and errors that name the line.
#include "eval/own_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
using testing::ElementsAre;
using testing::SizeIs;

class OwnTasks : public testing::Test {
 protected:
  Task load(const std::string& lines, const TaskOptions& options = {}) {
    write_file(folder_ / "own.jsonl", lines);
    return load_own_task((folder_ / "own.jsonl").string(), options);
  }

  TemporaryFolder folder_;
};

TEST_F(OwnTasks, choices_are_scored_as_multiple_choice) {
  const Task task = load(
      "{\"context\": \"Sky?\", \"choices\": [\"blue\", \"grün\"], \"answer\": 1, \"id\": \"s\"}\n"
      "{\"context\": \"Sea?\", \"choices\": [\"wet\"], \"answer\": 0}\n");
  EXPECT_EQ(task.scoring, &Scoring::kMultipleChoice);
  ASSERT_THAT(task.items, SizeIs(2));
  EXPECT_EQ(task.items[0].id, "s");
  EXPECT_EQ(task.items[1].id, "1");
  EXPECT_EQ(task.items[0].gold, 1);
  EXPECT_EQ(task.items[0].requests[1], (EvalRequest{.context = "Sky?", .continuation = "grün"}));
  EXPECT_THAT(task.items[0].lengths, ElementsAre(4, 4));
}

TEST_F(OwnTasks, choices_are_scored_as_the_file_has_them_but_for_a_delimiter_of_its_own) {
  const auto request = [&](const std::string& context, const std::string& choice,
                           const std::string& more) {
    const Json item = {{"context", context}, {"choices", {choice}}, {"answer", 0}};
    std::string line = item.dump();
    line.insert(line.size() - 1, more);
    return load(line).items.at(0);
  };
  EXPECT_EQ(request("The sky is", " blue", "").requests[0],
            (EvalRequest{.context = "The sky is", .continuation = " blue"}));
  EXPECT_EQ(request("print(", "x)", "").requests[0],
            (EvalRequest{.context = "print(", .continuation = "x)"}));
  const std::string spaced = R"(, "target_delimiter": " ")";
  const TaskItem item = request("The sky is", "blue", spaced);
  EXPECT_EQ(item.requests[0], (EvalRequest{.context = "The sky is", .continuation = " blue"}));
  EXPECT_THAT(item.lengths, ElementsAre(4));  // as in the harness, without the delimiter
  EXPECT_EQ(request("Q", "A", R"(, "target_delimiter": "\n\n")").requests[0].continuation, "\n\nA");
  EXPECT_ERROR(request("Q", "A", R"(, "target_delimiter": 1)"), "own.jsonl:1: target_delimiter");
}

TEST_F(OwnTasks, completions_are_scored_by_what_they_contain) {
  const Task task = load(
      "{\"context\": \"Name:\", \"answer\": \"Ada\"}\n"
      "{\"context\": \"City:\", \"answers\": [\"Oslo\", \"Kristiania\"], \"until\": [\".\", \"!\"],"
      " \"max_tokens\": 7}\n");
  EXPECT_EQ(task.scoring, &Scoring::kContains);
  ASSERT_THAT(task.items, SizeIs(2));
  EXPECT_EQ(
      task.items[0].requests[0],
      (EvalRequest{
          .kind = RequestKind::kGenerate, .context = "Name:", .until = {"\n"}, .max_tokens = 48}));
  EXPECT_EQ(task.items[1].requests[0], (EvalRequest{.kind = RequestKind::kGenerate,
                                                    .context = "City:",
                                                    .until = {".", "!"},
                                                    .max_tokens = 7}));
  EXPECT_THAT(task.items[1].references, ElementsAre("Oslo", "Kristiania"));
}

TEST_F(OwnTasks, one_end_may_be_written_without_brackets) {
  const Task task = load("{\"context\": \"Name:\", \"answer\": \"Ada\", \"until\": \".\"}\n");
  EXPECT_THAT(task.items.at(0).requests.at(0).until, ElementsAre("."));
}

TEST_F(OwnTasks, a_limit_takes_the_first_items) {
  const std::string line = "{\"context\": \"Name:\", \"answer\": \"Ada\"}\n";
  EXPECT_THAT(load(line + line + "broken", {.limit = 2}).items, SizeIs(2));
}

TEST_F(OwnTasks, what_is_not_an_item_is_named_by_line) {
  const std::string good = "{\"context\": \"Name:\", \"answer\": \"Ada\"}\n";
  EXPECT_ERROR(
      load(good + R"({"context": "a", "choices": ["b"], "answer": 0})"),
      "own.jsonl:2: expected an item without choices as on the first line, found one with");
  EXPECT_ERROR(load(good + R"({"context": "a"})"),
               "own.jsonl:2: expected one of the fields answer and answers, found none");
  EXPECT_ERROR(load(R"({"context": "a", "answer": "b", "answers": ["c"]})"), "found both");
  EXPECT_ERROR(load(R"({"context": "a", "choices": ["b"], "answer": 1})"),
               "own.jsonl:1: answer: expected 0 to 0, found 1");
  EXPECT_ERROR(load(R"({"context": "a", "answer": "b", "max_token": 5})"),
               "own.jsonl:1: unknown field max_token");
  EXPECT_ERROR(load(R"({"context": "a", "answer": "b", "target_delimiter": " "})"),
               "own.jsonl:1: unknown field target_delimiter");
  EXPECT_ERROR(load(R"({"context": "a", "answer": "b", "max_tokens": 0})"),
               "max_tokens: expected 1 to 1048576, found 0");
  EXPECT_ERROR(load(R"({"context": "a", "answer": "b", "max_tokens": 1048577})"),
               "own.jsonl:1: max_tokens: expected 1 to 1048576, found 1048577");
  EXPECT_ERROR(load(R"({"context": "a", "choices": [], "answer": 0})"),
               "choices: expected at least one, found none");
  EXPECT_ERROR(load("\n"), "own.jsonl: expected an item a line, found none");
}

}  // namespace
}  // namespace hypenet
