// Tasks out of data files: the harness's requests, text for text and token for token, where data is
// looked for, and what is said when it is not there or not as expected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/files.h"
#include "base/json.h"
#include "data/documents.h"
#include "eval/encode.h"
#include "eval/language_tasks.h"
#include "eval/task.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {
namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::SizeIs;

const fs::path kFixtures = HYPENET_TEST_DATA "/harness";
constexpr int64_t kLongEnough = 1 << 20;

Task load_task(const std::string& name, const TaskOptions& options) {
  std::vector<Task> tasks = load_tasks(std::vector<std::string>{name}, options);
  EXPECT_THAT(tasks, SizeIs(1));
  return std::move(tasks.front());
}

RequestKind kind_of(const std::string& name) {
  if (name == "rolling") return RequestKind::kRolling;
  return name == "generate" ? RequestKind::kGenerate : RequestKind::kLoglikelihood;
}

std::vector<int32_t> expected_ids(const Json& request) {
  auto ids = request.at("ctx").get<std::vector<int32_t>>();
  if (request.contains("cont")) {
    const auto more = request.at("cont").get<std::vector<int32_t>>();
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

void expect_tokens(const EvalRequest& found, const Json& expected, const Tokenizer& tokenizer) {
  const EncodedRequest encoded = encode_request(tokenizer, found, kLongEnough);
  if (found.kind == RequestKind::kGenerate) {
    EXPECT_EQ(encoded.prompt, expected_ids(expected));
    return;
  }
  ASSERT_THAT(encoded.parts, SizeIs(1));
  EXPECT_EQ(encoded.parts[0].ids, expected_ids(expected));
  EXPECT_EQ(encoded.parts[0].first_scored, static_cast<int64_t>(expected.at("ctx").size()));
}

void expect_request(const EvalRequest& found, const Json& expected, const Tokenizer& tokenizer) {
  EXPECT_EQ(found.kind, kind_of(expected.at("kind").get<std::string>()));
  EXPECT_EQ(found.context, expected.at("context").get<std::string>());
  EXPECT_EQ(found.continuation, expected.value("continuation", ""));
  EXPECT_EQ(found.until, expected.value("until", std::vector<std::string>{}));
  EXPECT_EQ(found.max_tokens, expected.value("max_tokens", 0));
  if (expected.contains("ctx")) expect_tokens(found, expected, tokenizer);
}

void expect_item(const TaskItem& found, const Json& expected, const Tokenizer& tokenizer) {
  const Json& gold = expected.at("gold");
  if (gold.is_number()) {
    EXPECT_EQ(found.gold, gold.get<int64_t>());
  } else if (gold.is_string()) {
    EXPECT_THAT(found.references, ElementsAre(gold.get<std::string>()));
  }
  const Json& requests = expected.at("requests");
  ASSERT_EQ(found.requests.size(), requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(concat("request ", i));
    expect_request(found.requests[i], requests[i], tokenizer);
  }
}

/// Compares the tasks of requests/<folder> as they are made from the data of `data`.
void expect_harness_requests(const std::string& folder, const std::string& data) {
  const Tokenizer tokenizer = Tokenizer::load(HYPENET_SOURCE "/models/tiny-teacher");
  int64_t tasks = 0;
  for (const auto& file : fs::directory_iterator(kFixtures / "requests" / folder)) {
    SCOPED_TRACE(file.path().string());
    const Json expected = read_json(file.path());
    const Task found =
        load_task(expected.at("task").get<std::string>(),
                  {.data = {kFixtures / data}, .shots = expected.at("shots").get<int64_t>()});
    EXPECT_EQ(found.shots, expected.at("shots").get<int64_t>());
    const Json& documents = expected.at("documents");
    ASSERT_EQ(found.items.size(), documents.size());
    for (size_t i = 0; i < documents.size(); ++i) {
      SCOPED_TRACE(concat("document ", i));
      expect_item(found.items[i], documents[i], tokenizer);
    }
    ++tasks;
  }
  EXPECT_GE(tasks, 6);
}

TEST(Tasks, requests_from_the_authors_files_are_the_harness_s) {
  expect_harness_requests("authors", "authors");
}

TEST(Tasks, requests_from_the_hub_s_files_are_the_harness_s) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  expect_harness_requests("hub", "hub");
}

TEST(Tasks, requests_with_examples_are_the_harness_s) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  expect_harness_requests("hub-shots", "hub");
}

TEST(Tasks, lengths_are_code_points_of_the_choice) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  const Task arc = load_task("arc_easy", {.data = {kFixtures / "hub"}});
  EXPECT_THAT(arc.items[2].lengths, ElementsAre(16, 20, 11, 10));  // "It is café-coloured." is 20
}

TEST(Tasks, mmlu_takes_five_examples_unless_told) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  const std::string header =
      "The following are multiple choice questions (with answers) about astronomy.\n\n";
  const Task usual = load_task("mmlu_astronomy", {.data = {kFixtures / "hub"}});
  const std::string& context = usual.items[0].requests[0].context;
  EXPECT_EQ(usual.shots, 5);
  EXPECT_TRUE(context.starts_with(header + "Which is star 0?\nA. Vega"));
  EXPECT_NE(context.find("Which is star 4?"), context.npos);
  const Task bare = load_task("mmlu_astronomy", {.data = {kFixtures / "hub"}, .shots = 0});
  EXPECT_TRUE(bare.items[0].requests[0].context.starts_with(header + "Which planet"));
}

TEST(Tasks, recall_of_version_1_is_stripped) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  const Task fda = load_task("fda", {.data = {kFixtures / "hub"}, .version = 1});
  EXPECT_EQ(fda.version, 1);
  EXPECT_EQ(fda.items[1].requests[0].context, "Maker: ålesund as, Norway.\nMaker:");
  EXPECT_THAT(fda.items[0].references, ElementsAre("Pump (No. 7)"));
  EXPECT_ERROR(load_task("fda", {.data = {kFixtures / "hub"}, .version = 2}),
               "fda: expected version 0 or 1, found 2");
}

TEST(Tasks, a_limit_takes_the_first_items) {
  const Task whole = load_task("piqa", {.data = {kFixtures / "authors"}});
  const Task part = load_task("piqa", {.data = {kFixtures / "authors"}, .limit = 3});
  ASSERT_THAT(part.items, SizeIs(3));
  EXPECT_EQ(part.items[2].requests, whole.items[2].requests);
  EXPECT_THAT(load_task("wikitext", {.data = {kFixtures / "authors"}, .limit = 1}).items,
              SizeIs(1));
}

TEST(Tasks, the_first_folder_with_the_data_is_used) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "piqa");
  write_file(folder / "piqa/valid.jsonl", R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 1})");
  const Task task = load_task("piqa", {.data = {folder.path(), kFixtures / "authors"}});
  EXPECT_THAT(task.items, SizeIs(1));
}

TEST(Tasks, the_hub_s_cache_and_the_data_set_s_own_folder_are_found) {
  const std::string line = R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 1})";
  const TemporaryFolder folder;
  for (const fs::path& place : {folder / "cache/datasets--baber--piqa/snapshots/0a1b",
                                folder / "owner/baber/piqa", folder / "itself/piqa"}) {
    fs::create_directories(place);
    write_file(place / "validation.jsonl", line);
  }
  for (const char* data : {"cache", "owner", "itself/piqa"}) {
    EXPECT_THAT(load_task("piqa", {.data = {folder / data}}).items, SizeIs(1)) << data;
  }
}

TEST(Tasks, a_data_folder_may_end_in_a_slash) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "piqa");
  write_file(folder / "piqa/validation.jsonl",
             R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 1})");
  const fs::path data = folder.path().string() + "/piqa/";
  EXPECT_THAT(load_task("piqa", {.data = {data}}).items, SizeIs(1));
}

TEST(Tasks, one_of_several_configurations_is_looked_for_in_its_own_folder_alone) {
  const TemporaryFolder folder;
  const std::string arc =
      R"({"question": "q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"})";
  for (const char* name : {"ai2_arc", "ai2_arc/ARC-Easy", "ai2_arc/data", "ai2_arc/default", "mmlu",
                           "winogrande", "openbookqa", "wikitext_document_level"}) {
    fs::create_directories(folder / name);
    write_file(folder / name / "test.jsonl", arc);
    write_file(folder / name / "validation.jsonl", arc);
  }
  const TaskOptions options = {.data = {folder.path()}, .shots = 0};
  EXPECT_THAT(load_task("arc_easy", options).items, SizeIs(1));
  for (const auto& [task, folder_of_it] : {std::pair{"arc_challenge", "ai2_arc/ARC-Challenge"},
                                           {"mmlu_astronomy", "mmlu/astronomy"},
                                           {"winogrande", "winogrande/winogrande_xl"},
                                           {"openbookqa", "openbookqa/main"},
                                           {"wikitext", "level/wikitext-2-raw-v1"}}) {
    EXPECT_ERROR(load_task(task, options), folder_of_it);
    EXPECT_ERROR(load_task(task, options), ", found none in ");
  }
}

TEST(Tasks, numbered_files_must_be_as_many_as_they_say) {
  const TemporaryFolder folder;
  const fs::path data = folder / "piqa/data";
  fs::create_directories(data);
  const auto expect = [&](const std::string& text) {
    EXPECT_ERROR(load_task("piqa", {.data = {folder.path()}}), text);
  };
  write_file(data / "validation-00000-of-00002.parquet", "");
  expect(concat("piqa: expected 2 files, found no ", (data / "validation-00001-of-00002").string(),
                "*"));
  write_file(data / "validation-00001-of-00002-0a1b.parquet", "");
  expect("validation-00000-of-00002.parquet: ");  // is read, and is no Parquet file
  write_file(data / "validation-00000-of-00001.parquet", "");
  expect("piqa: expected 1 files like ");
}

TEST(Tasks, missing_data_is_one_line_with_files_folders_and_source) {
  EXPECT_ERROR(load_task("arc_easy", {.data = {"here", "there"}}),
               "arc_easy: expected allenai/ai2_arc/ARC-Easy/test-*.parquet or "
               "arc/ARC-Easy-Test.jsonl or ARC-V1-Feb2018-2/ARC-Easy/ARC-Easy-Test.jsonl or "
               "ARC-Easy-Test.jsonl, found none in here, there; it can be had from "
               "https://huggingface.co/datasets/allenai/ai2_arc");
  EXPECT_ERROR(load_task("fda", {}), "found none in no folder (--data-dir names none)");
  EXPECT_ERROR(load_task("piqa", {.data = {kFixtures / "authors"}, .shots = 2}),
               "piqa (examples): expected baber/piqa/plain_text/train-*.parquet");
}

TEST(Tasks, too_few_examples_are_an_error) {
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  EXPECT_ERROR(load_task("piqa", {.data = {kFixtures / "hub"}, .shots = 5}),
               "piqa: expected at least 6 examples for 5 shots, found 5");
  EXPECT_ERROR(load_task("piqa", {.data = {kFixtures / "hub"}, .shots = -1}), "found -1");
}

TEST(Tasks, records_that_are_not_the_task_s_are_named) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "winogrande");
  const fs::path file = folder / "winogrande/winogrande_dev.jsonl";
  const auto expect = [&](const std::string& line, const std::string& text) {
    write_file(file, "\n" + line + "\n");
    EXPECT_ERROR(load_task("winogrande", {.data = {folder.path()}}),
                 concat(file.string(), ":2: ", text));
  };
  expect(R"({"sentence": "a _ b", "option1": "x", "option2": "y"})",
         "expected a field answer, found none");
  expect(R"({"sentence": "a b", "option1": "x", "option2": "y", "answer": "1"})",
         "sentence: expected a _, found none");
  expect(R"({"sentence": "a _ ", "option1": "x", "option2": "y", "answer": "1"})",
         "sentence: expected text after its _, found none");
  expect(R"({"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "one"})",
         "answer: expected an integer, found \"one\"");
  expect(R"({"sentence": "a _ b", "option1": "x", "option2": "y", "answer": 3})",
         "expected the right one of 2 choices, found number 2");
  expect(R"({"sentence": 7})", "sentence: expected a string, found an integer");
}

TEST(Tasks, labels_beside_the_records_must_be_enough) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "piqa");
  write_file(folder / "piqa/valid.jsonl",
             "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\"}\n"
             "{\"goal\": \"h\", \"sol1\": \"a\", \"sol2\": \"b\"}\n");
  write_file(folder / "piqa/valid-labels.lst", "1\n");
  EXPECT_ERROR(load_task("piqa", {.data = {folder.path()}}),
               "valid.jsonl:2: expected a label for each record beside the file, found 1 labels");
}

TEST(Tasks, unknown_names_are_told_the_known_ones) {
  EXPECT_ERROR(load_tasks(std::vector<std::string>{"arc_hard"}, {}),
               "arc_hard: expected a task (arc_easy, arc_challenge, hellaswag, piqa, winogrande, "
               "openbookqa, lambada,");
}

TEST(Tasks, groups_are_their_tasks) {
  const auto count_known = [](const std::string& start) {
    const std::vector<TaskName> names = known_tasks();
    return std::ranges::count_if(
        names, [&](const TaskName& known) { return known.name.starts_with(start); });
  };
  EXPECT_EQ(count_known("mmlu_"), 57 + 4);
  if (!has_parquet()) GTEST_SKIP() << "this build reads no Parquet";
  EXPECT_ERROR(load_tasks(std::vector<std::string>{"mmlu"}, {.data = {kFixtures / "hub"}}),
               "mmlu_abstract_algebra: expected cais/mmlu/abstract_algebra/test-*.parquet");
}

TEST(Tasks, wikitext_counts_words_and_bytes_of_the_page_as_it_is) {
  const TemporaryFolder folder;
  write_file(folder / "wiki.test.raw",
             " \n = One = \n \n A café , 3 @.@ 5 \n = = Part = = \n \n"
             " = Two = \n \n It ended . \n");
  const Task task = load_task("wikitext", {.data = {folder.path()}});
  ASSERT_THAT(task.items, SizeIs(2));
  EXPECT_EQ(task.items[0].requests[0].context, " = One =\n\nA café, 3.5\n== Part ==\n");
  EXPECT_EQ(task.items[1].requests[0].context, " = Two =\n\nIt ended.\n");
  // Of " = One = \n \n A café , 3 @.@ 5 \n = = Part = = \n " and of " = Two = \n \n It ended . \n"
  // CPython's len(re.split(r"\s+", page)) and len(page.encode()).
  EXPECT_EQ(task.items[0].words, 16);
  EXPECT_EQ(task.items[0].bytes, 48);
  EXPECT_EQ(task.items[1].words, 8);
  EXPECT_EQ(task.items[1].bytes, 25);
}

TEST(Tasks, wikitext_s_three_layouts_are_the_same_pages) {
  const TemporaryFolder folder;
  const std::string raw = read_file(kFixtures / "authors/wikitext-2/wiki.test.raw");
  std::string rows, pages;
  for (size_t begin = 0; begin < raw.size();) {
    const size_t end = raw.find('\n', begin) + 1;
    const std::string line = raw.substr(begin, end - begin);
    rows += Json{{"text", line == " \n" ? "" : line}}.dump() + "\n";
    begin = end;
  }
  for (const std::string& page : split_wikitext_pages(raw)) {
    pages += Json{{"page", page}}.dump() + "\n";
  }
  const Task from_raw = load_task("wikitext", {.data = {kFixtures / "authors"}});
  for (const auto& [name, lines] : {std::pair{"rows", rows}, std::pair{"pages", pages}}) {
    const fs::path data = folder / name;
    fs::create_directories(data / "wikitext_document_level/wikitext-2-raw-v1");
    write_file(data / "wikitext_document_level/wikitext-2-raw-v1/test.jsonl", lines);
    const Task task = load_task("wikitext", {.data = {data}});
    ASSERT_EQ(task.items.size(), from_raw.items.size());
    for (size_t i = 0; i < task.items.size(); ++i) {
      EXPECT_EQ(task.items[i].requests, from_raw.items[i].requests);
      EXPECT_EQ(task.items[i].words, from_raw.items[i].words);
      EXPECT_EQ(task.items[i].bytes, from_raw.items[i].bytes);
    }
  }
}

}  // namespace
}  // namespace hypenet
