// Samples equal those of RULER's scripts, byte for byte (tests/data/ruler/README.md says which).
#include "eval/ruler/ruler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/files.h"
#include "base/json.h"
#include "eval/ruler/data.h"
#include "eval/ruler/subjects.h"
#include "eval/ruler/words.h"
#include "tests/support/expect_error.h"
#include "tests/support/sha256.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(HYPENET_TEST_DATA) / "ruler";

const Tokenizer& tiny_tokenizer() {
  static const Tokenizer kTokenizer =
      Tokenizer::load(std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher");
  return kTokenizer;
}

TaskOptions options_for(int64_t length, int64_t samples) {
  return {
      .data = {kFolder}, .lengths = {length}, .samples = samples, .tokenizer = &tiny_tokenizer()};
}

/// Compares head and tail first: they say where a prompt differs.
void expect_sample(const TaskItem& item, const Json& expected, int64_t length) {
  const EvalRequest& request = item.requests.at(0);
  const std::string& prompt = request.context;
  const auto head = expected.at("head").get<std::string>();
  EXPECT_EQ(prompt.substr(0, head.size()), head);
  const auto tail = expected.at("tail").get<std::string>();
  EXPECT_EQ(prompt.substr(prompt.size() - std::min(tail.size(), prompt.size())), tail);
  EXPECT_EQ(prompt.size(), expected.at("bytes"));
  EXPECT_EQ(Sha256::of(prompt), expected.at("sha256").get<std::string>());
  EXPECT_EQ(item.references, expected.at("references").get<std::vector<std::string>>());
  const int64_t tokens = count_tokens(tiny_tokenizer(), prompt) + request.max_tokens;
  EXPECT_EQ(tokens, expected.at("tokens"));
  // RULER's frequent words leave no room for their answer.
  EXPECT_LE(tokens, length + (request.max_tokens == kFrequentWordsAnswerTokens ? 50 : 0));
}

class RulerSamples : public testing::TestWithParam<std::string> {};

TEST_P(RulerSamples, equal_rulers_own) {
  int64_t cases = 0;
  for (const Json& one : read_json(kFolder / "samples.json")) {
    if (one.at("task") != GetParam()) continue;
    ++cases;
    const auto length = one.at("length").get<int64_t>();
    SCOPED_TRACE(length);
    const Json& samples = one.at("samples");
    const Task task =
        load_ruler_task(GetParam(), options_for(length, static_cast<int64_t>(samples.size())))
            .at(0);
    EXPECT_EQ(task.name, concat(GetParam(), "/", length));
    ASSERT_EQ(task.items.size(), samples.size());
    for (size_t i = 0; i < samples.size(); ++i) expect_sample(task.items[i], samples[i], length);
  }
  EXPECT_GT(cases, 0);
}

INSTANTIATE_TEST_SUITE_P(Ruler, RulerSamples, testing::ValuesIn(ruler_task_names()),
                         [](const auto& info) { return info.param; });

TEST(Ruler, knows_thirteen_tasks_and_how_they_are_scored) {
  EXPECT_EQ(ruler_task_names().size(), 13U);
  const Task needle = load_ruler_task("niah_single_1", options_for(512, 1)).at(0);
  EXPECT_EQ(needle.group, "ruler");
  EXPECT_EQ(needle.scoring, &Scoring::kAllReferences);
  EXPECT_EQ(needle.items.at(0).requests.at(0).kind, RequestKind::kGenerate);
  EXPECT_EQ(needle.items.at(0).requests.at(0).max_tokens, 128);
  EXPECT_TRUE(needle.items.at(0).requests.at(0).until.empty());
  const Task squad = load_ruler_task("ruler_qa_squad", options_for(4096, 1)).at(0);
  EXPECT_EQ(squad.scoring, &Scoring::kPartOfReferences);
  EXPECT_EQ(squad.items.at(0).requests.at(0).max_tokens, 32);
}

TEST(Ruler, common_words_whose_list_is_lowered_below_ten_are_all_of_it) {
  const Task task = load_ruler_task("ruler_cwe", options_for(4096, 10)).at(0);
  size_t fewest = 10;
  for (const TaskItem& item : task.items) {
    const EvalRequest& request = item.requests.at(0);
    EXPECT_LE(count_tokens(tiny_tokenizer(), request.context) + request.max_tokens, 4096);
    EXPECT_GE(item.references.size(), 1U);
    fewest = std::min(fewest, item.references.size());
  }
  EXPECT_LT(fewest, 10U) << "a draw of 11 to 19 words that was too long";
  const TaskOptions options = options_for(4096, 1);
  const RulerSubject subject = repeated_words_subject(4096, options, "ruler_cwe");
  EXPECT_EQ(subject.draw(0, 3)->references.size(), 3U);
  EXPECT_EQ(subject.draw(0, 13)->references.size(), 10U);
}

TEST(Ruler, a_length_gives_the_same_samples_alone_and_among_others_and_the_first_of_more) {
  TaskOptions options = options_for(512, 3);
  options.lengths = {512, 1024};
  const std::vector<Task> both = load_ruler_task("niah_multikey_2", options);
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[1].name, "niah_multikey_2/1024");
  options.lengths = {1024};
  options.limit = 2;
  const Task alone = load_ruler_task("niah_multikey_2", options).at(0);
  ASSERT_EQ(alone.items.size(), 2U);
  EXPECT_EQ(alone.items[1].requests, both[1].items[1].requests);
}

TEST(Ruler, another_seed_gives_other_samples) {
  TaskOptions options = options_for(512, 1);
  const Task first = load_ruler_task("niah_single_1", options).at(0);
  options.seed = 43;
  EXPECT_NE(load_ruler_task("niah_single_1", options).at(0).items.at(0).references,
            first.items.at(0).references);
}

TEST(Ruler, word_pairs_are_all_pairs_in_order) {
  const WordPairs pairs;
  EXPECT_EQ(pairs.size(), 6175260);
  EXPECT_EQ(pairs.at(0), "Early-ATM");
  EXPECT_EQ(pairs.at(pairs.size() - 1), "zonked-zucchini");
  EXPECT_EQ(pairs.at(3000000), "lackadaisical-blade");
  for (int64_t place = 1; place < pairs.size(); place += 97) {
    ASSERT_LT(pairs.at(place - 1), pairs.at(place)) << place;
  }
}

TEST(Ruler, the_harness_rule_grows_in_steps_and_leaves_the_answer_prefix_uncounted) {
  TaskOptions options = options_for(2048, 2);
  options.ruler_as_harness = true;
  const Task task = load_ruler_task("niah_single_1", options).at(0);
  for (const TaskItem& item : task.items) {
    const std::string& prompt = item.requests.at(0).context;
    int64_t lines = 0;
    for (size_t at = 0; (at = prompt.find(kRepeatedLine, at)) != prompt.npos; ++at) ++lines;
    EXPECT_EQ(lines % 5, 0);
    const std::string body = prompt.substr(0, prompt.rfind(" The special magic"));
    const int64_t tokens = count_tokens(tiny_tokenizer(), body) + 128;
    EXPECT_LE(tokens, 2048);
    // Five more lines would not fit.
    EXPECT_GT(tokens + 5 * count_tokens(tiny_tokenizer(), kRepeatedLine + "\n"), 2048);
  }
}

TEST(Ruler, the_harness_has_its_own_words_in_three_tasks) {
  TaskOptions options = options_for(2048, 1);
  options.ruler_as_harness = true;
  const auto prompt = [&](const char* name) {
    return load_ruler_task(name, options).at(0).items.at(0).requests.at(0).context;
  };
  const std::string variables = prompt("ruler_vt");
  EXPECT_THAT(variables, testing::EndsWith(", they are:"));
  EXPECT_THAT(variables, testing::HasSubstr("5 variables are assgined the value "));
  EXPECT_THAT(prompt("ruler_cwe"),
              testing::StartsWith("Below is a numbered list of words. In these words"));
  EXPECT_THAT(prompt("ruler_cwe"), testing::HasSubstr("in the above list?\n\nAnswer: The top 10"));
  EXPECT_EQ(prompt("ruler_cwe").find("Below"), prompt("ruler_cwe").rfind("Below"));
  EXPECT_THAT(prompt("ruler_fwe"), testing::EndsWith("appeared words are:"));
}

TEST(Ruler, the_harness_does_not_repeat_the_essays) {
  TaskOptions options = options_for(65536, 1);
  options.ruler_as_harness = true;
  const auto bytes = [&] {
    return load_ruler_task("niah_single_2", options)
        .at(0)
        .items.at(0)
        .requests.at(0)
        .context.size();
  };
  const size_t once = bytes();
  EXPECT_LT(once, 20000U);
  options.ruler_as_harness = false;
  EXPECT_GT(bytes(), 100000U);
}

TEST(Ruler, what_cannot_be_is_one_line) {
  EXPECT_ERROR(load_ruler_task("niah_single_9", options_for(512, 1)),
               "task niah_single_9: expected one of RULER's");
  EXPECT_ERROR(load_ruler_task("niah_single_1", options_for(200, 1)),
               "niah_single_1/200: expected a prompt and its answer in 200 tokens, found ");
  EXPECT_ERROR(load_ruler_task("ruler_fwe", options_for(100, 1)),
               "ruler_fwe/100: expected a length of at least 200, found 100");
  TaskOptions options = options_for(512, 0);
  EXPECT_ERROR(load_ruler_task("niah_single_1", options), "expected at least 1 sample, found 0");
  options = {.lengths = {512}, .samples = 1};
  EXPECT_ERROR(load_ruler_task("niah_single_1", options), "expected a tokenizer, found none");
}

/// The same questions as records of the hub: one a line.
void write_records(const std::filesystem::path& path, const std::vector<Json>& records) {
  std::filesystem::create_directories(path.parent_path());
  std::string lines;
  for (const Json& record : records) lines += record.dump() + "\n";
  write_file(path, lines);
}

TEST(Ruler, the_hubs_records_of_squad_and_hotpot_give_the_same_samples) {
  const TemporaryFolder folder;
  std::vector<Json> squad, hotpot;
  const Json squad_file = read_json(kFolder / "squad.json");
  for (const Json& article : squad_file.at("data")) {
    for (const Json& paragraph : article.at("paragraphs")) {
      for (const Json& question : paragraph.at("qas")) {
        Json texts = Json::array();
        for (const Json& answer : question.at("answers")) texts.push_back(answer.at("text"));
        squad.push_back({{"title", article.at("title")},
                         {"context", paragraph.at("context")},
                         {"question", question.at("question")},
                         {"answers", {{"text", texts}}}});
      }
    }
  }
  for (Json record : read_json(kFolder / "hotpotqa.json")) {
    Json titles = Json::array(), sentences = Json::array();
    for (const Json& text : record.at("context")) {
      titles.push_back(text.at(0));
      sentences.push_back(text.at(1));
    }
    record["context"] = {{"title", titles}, {"sentences", sentences}};
    hotpot.push_back(record);
  }
  write_records(folder / "squad_v2" / "validation.jsonl", squad);
  write_records(folder / "hotpot_qa" / "distractor" / "validation.jsonl", hotpot);
  for (const char* name : {"ruler_qa_squad", "ruler_qa_hotpot"}) {
    TaskOptions options = options_for(4096, 3);
    const Task expected = load_ruler_task(name, options).at(0);
    options.data = {folder.path()};
    const Task found = load_ruler_task(name, options).at(0);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(found.items.at(i).requests, expected.items.at(i).requests) << name;
      EXPECT_EQ(found.items.at(i).references, expected.items.at(i).references) << name;
    }
  }
}

TEST(Ruler, questions_without_answers_are_left_out) {
  const TemporaryFolder folder;
  Json file = read_json(kFolder / "squad.json");
  TaskOptions options = options_for(4096, 3);
  const Task expected = load_ruler_task("ruler_qa_squad", options).at(0);
  Json& questions = file["data"][0]["paragraphs"][0]["qas"];
  const char* left_out[] = {
      R"({"question": "Who?", "answers": []})",
      R"({"question": "Why?", "is_impossible": true, "answers": [{"text": "it is not said"}]})"};
  for (const char* question : left_out) {
    questions.insert(questions.begin(), parse_json(question, "question"));
  }
  write_file(folder / "squad.json", file.dump());
  options.data = {folder.path()};
  const Task found = load_ruler_task("ruler_qa_squad", options).at(0);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(found.items.at(i).requests, expected.items.at(i).requests);
}

TEST(Ruler, records_of_another_layout_are_named_with_file_and_line) {
  const TemporaryFolder folder;
  TaskOptions options = options_for(4096, 1);
  options.data = {folder.path()};
  const auto expect = [&](const char* task, const std::filesystem::path& path,
                          const std::string& text, const std::string& message) {
    std::filesystem::create_directories((folder / path).parent_path());
    write_file(folder / path, text);
    EXPECT_ERROR(load_ruler_task(task, options), concat((folder / path).string(), message));
  };
  const auto expect_hotpot = [&](const std::string& context, const std::string& message) {
    expect("ruler_qa_hotpot", "hotpotqa.json",
           R"([{"question": "q", "answer": "a")" + context + "}]", ", record 1: " + message);
  };
  expect_hotpot("", "expected a field context, found none");
  expect_hotpot(R"(, "context": [["t"]])",
                "context: expected pairs of a title and its sentences, found an array of 1");
  expect_hotpot(R"(, "context": [["t", "s"]])",
                "context: expected a title and an array of sentences, found a string and a string");
  expect_hotpot(R"(, "context": [["t", [1]]])", "context: expected sentences, found an integer");
  expect_hotpot(R"(, "context": {"title": ["t"], "sentences": []})",
                "context: expected as many sentences as titles, 1, found 0");
  expect("ruler_qa_squad", "squad.json", R"([{"title": "t"}])",
         ": expected a field data, found none");
  expect("ruler_qa_squad", "squad.json",
         R"({"data": [{"paragraphs": [{"context": "c", "qas": [7]}]}]})",
         ": expected a field answers, found none");
  const std::string record = R"({"title": "t", "context": "c", "question": "q")";
  expect("ruler_qa_squad", "squad_v2/validation.jsonl", record + "}",
         ":1: expected a field answers, found none");
  expect("ruler_qa_squad", "squad_v2/validation.jsonl", record + R"(, "answers": []})",
         ":1: answers: expected an object, found an array");
  write_file(folder / "english_words.json", "[\"a\", 2]");
  EXPECT_ERROR(read_english_words(options.data, "ruler_cwe"),
               "english_words.json: expected words, found an integer");
}

TEST(Ruler, a_missing_file_is_named_with_the_folders_and_its_source) {
  const TemporaryFolder folder;
  TaskOptions options = options_for(4096, 1);
  options.data = {folder.path()};
  EXPECT_ERROR(load_ruler_task("niah_single_2", options), "PaulGrahamEssays.json");
  EXPECT_ERROR(load_ruler_task("niah_single_2", options), "or scripts/eval-data DIR makes it");
  EXPECT_ERROR(load_ruler_task("niah_single_2", options), folder.path().string());
  EXPECT_ERROR(load_ruler_task("ruler_qa_squad", options), "dev-v2.0.json");
  EXPECT_ERROR(load_ruler_task("ruler_qa_hotpot", options), "hotpot_dev_distractor_v1.json");
  std::filesystem::copy(kFolder / "PaulGrahamEssays.json", folder / "PaulGrahamEssays.json");
  EXPECT_ERROR(load_ruler_task("niah_single_2", options),
               "niah_single_2/4096: expected nltk/punkt_tab/english or punkt_tab/english");
  EXPECT_ERROR(load_ruler_task("niah_single_2", options), "or scripts/eval-data DIR makes it");
}

}  // namespace
}  // namespace hypenet
