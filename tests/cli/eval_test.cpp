// eval and compare on small models with random weights, as a user runs them.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "eval/measures.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/refusal.h"
#include "text/tokenizer.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;

constexpr const char* kChoices =
    R"({"context": "Two and two make", "choices": ["four", "five"], "answer": 0}
{"context": "Fish live in the", "choices": ["sky", "sea", "sand"], "answer": 1}
{"context": "Fish live in the", "choices": ["sky", "sea", "sand"], "answer": 1}
)";
constexpr const char* kCompletions = R"({"context": "The code is 7. The code is", "answer": "7"}
{"context": "Say anything:", "answers": ["x", "\n", ""], "max_tokens": 9}
)";

class EvalCommandTest : public testing::Test {
 protected:
  EvalCommandTest() {
    testing_support::write_byte_model(folder());
    write_file(root_ / "choices.jsonl", kChoices);
    write_file(root_ / "completions.jsonl", kCompletions);
  }

  fs::path folder() const { return root_ / "model"; }
  std::string file(const std::string& name) const { return (root_ / name).string(); }

  ProgramResult eval(std::vector<std::string> options) const {
    options.insert(options.begin(), {"eval", folder().string()});
    return run_program(options);
  }
  /// eval in this process, for what is refused before anything runs.
  ProgramResult refused(std::vector<std::string> options) const {
    options.insert(options.begin(), {"eval", folder().string()});
    return testing_support::refusal(add_eval_command, std::move(options));
  }

  ProgramResult eval_all(const std::string& out) const {
    return eval({"--tasks", file("choices.jsonl") + "," + file("completions.jsonl"), "--out",
                 file(out), "--log-samples", file("samples.jsonl")});
  }

  TemporaryFolder root_;
};

TEST_F(EvalCommandTest, own_items_are_scored_into_a_table_and_files) {
  const ProgramResult result = eval_all("results.json");
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, AllOf(HasSubstr("task"), HasSubstr("acc_norm"), HasSubstr("contains"),
                                HasSubstr("±")));
  EXPECT_THAT(result.error, AllOf(HasSubstr("eval: 5 log-likelihoods"), HasSubstr("2 answers"),
                                  HasSubstr("results.json.journal")));
  const Json json = read_json(root_ / "results.json");
  ASSERT_EQ(json["results"].size(), 2U);
  for (const auto& [name, metrics] : json["results"].items()) {
    const bool is_choice = metrics.contains("acc,none");
    EXPECT_EQ(metrics.contains("contains,none"), !is_choice);
    EXPECT_EQ(json["n-samples"][name]["effective"], is_choice ? 3 : 2);
    EXPECT_EQ(json["n-shot"][name], 0);
  }
  EXPECT_EQ(json["config"]["model_args"], folder().string());
  EXPECT_EQ(json["config"]["dtype"], "float32");
  EXPECT_EQ(json["config"]["data_dirs"], Json::array());
  EXPECT_EQ(json["config"]["task_version"], 0);
  EXPECT_EQ(json["config"]["ruler_rule"], "ruler");
  EXPECT_GT(json["date"], 1'700'000'000);
  const std::string samples = read_file(root_ / "samples.jsonl");
  EXPECT_EQ(std::count(samples.begin(), samples.end(), '\n'), 5);
}

TEST_F(EvalCommandTest, a_second_run_takes_answers_from_the_journal) {
  ASSERT_EQ(eval_all("results.json").code, 0);
  const std::string journal = read_file(root_ / "results.json.journal");
  EXPECT_EQ(std::count(journal.begin(), journal.end(), '\n'), 1 + 5 + 2);
  const Json first = read_json(root_ / "results.json");
  const std::string samples = read_file(root_ / "samples.jsonl");
  // A killed process leaves part of a line.
  write_file(root_ / "results.json.journal", journal.substr(0, journal.size() - 9));
  const ProgramResult again = eval_all("results.json");
  ASSERT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(read_file(root_ / "results.json.journal"), journal);
  EXPECT_EQ(read_json(root_ / "results.json")["results"], first["results"]);
  EXPECT_EQ(read_file(root_ / "samples.jsonl"), samples);
}

TEST_F(EvalCommandTest, a_journal_of_other_weights_is_refused) {
  ASSERT_EQ(eval_all("results.json").code, 0);
  testing_support::write_tiny_model(folder(), 272, 4);
  testing_support::write_byte_tokenizer(folder());
  expect_error_line(eval_all("results.json"),
                    "results.json.journal: answers of another model or setting (identity.");
}

TEST_F(EvalCommandTest, another_logits_scaling_is_another_setting) {
  ASSERT_EQ(eval_all("results.json").code, 0);
  const Json plain = read_json(root_ / "results.json");
  EXPECT_EQ(plain["config"]["attn_logits_scaling"], nullptr);
  const auto scaled = [&](const std::string& scaling, const std::string& out) {
    return eval({"--tasks", file("choices.jsonl"), "--attn-logits-scaling", scaling, "--out",
                 file(out), "--log-samples", file("samples_" + out)});
  };
  expect_error_line(scaled("hype 20", "results.json"),
                    "answers of another model or setting (identity.model.config.attn_logits_scal");
  EXPECT_EQ(scaled("none", "results.json").code, 0);  // config.json's own
  ASSERT_EQ(scaled("hype 20", "other.json").code, 0);
  EXPECT_EQ(read_json(root_ / "other.json")["config"]["attn_logits_scaling"], "hype 20");
  EXPECT_NE(read_file(root_ / "samples_other.json"), read_file(root_ / "samples_results.json"));
  for (const std::string bad : {"hyper", "hype 1", "hype inf", "nan", "1x", ""}) {
    expect_error_line(scaled(bad, "other.json"), "--attn-logits-scaling: expected null, a number");
  }
}

TEST_F(EvalCommandTest, none_takes_away_the_scaling_that_config_json_has) {
  Json config = read_json(folder() / "config.json");
  config["attn_logits_scaling"] = "hype 20";
  write_json(folder() / "config.json", config);
  const auto samples = [&](std::vector<std::string> options) {
    options.insert(options.end(), {"--tasks", file("choices.jsonl"), "--log-samples",
                                   file("samples.jsonl"), "--out", file("results.json")});
    const ProgramResult result = eval(options);
    EXPECT_EQ(result.code, 0) << result.error;
    fs::remove(root_ / "results.json.journal");
    return read_file(root_ / "samples.jsonl");
  };
  const std::string own = samples({});
  EXPECT_EQ(read_json(root_ / "results.json")["config"]["attn_logits_scaling"], "hype 20");
  EXPECT_NE(samples({"--attn-logits-scaling", "none"}), own);
  EXPECT_EQ(read_json(root_ / "results.json")["config"]["attn_logits_scaling"], nullptr);
}

TEST_F(EvalCommandTest, limit_and_batch_change_how_much_and_not_what) {
  const auto value = [&](const std::vector<std::string>& more) {
    std::vector<std::string> options = {"--tasks", file("choices.jsonl"), "--log-samples",
                                        file("samples.jsonl")};
    options.insert(options.end(), more.begin(), more.end());
    const ProgramResult result = eval(options);
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_THAT(result.error, Not(HasSubstr("journal")));
    return result.out;
  };
  const std::string plain = value({});
  EXPECT_EQ(value({"--batch", "7"}), plain);
  EXPECT_NE(value({"--limit", "1"}), plain);
  const std::string samples = read_file(root_ / "samples.jsonl");
  EXPECT_EQ(std::count(samples.begin(), samples.end(), '\n'), 1);
}

TEST_F(EvalCommandTest, contexts_that_do_not_fit_are_told) {
  const ProgramResult result = eval({"--tasks", file("choices.jsonl"), "--max-length", "10"});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("were longer than 10 tokens and lost their beginning"));
}

TEST_F(EvalCommandTest, tasks_are_listed_without_a_model) {
  const ProgramResult result = run_program({"eval", "--list"});
  ASSERT_EQ(result.code, 0) << result.error;
  for (const std::string name : {"arc_easy ", "mmlu ", "niah_single_1 ", "text ", "needle-grid "}) {
    EXPECT_THAT("\n" + result.out, HasSubstr("\n" + name)) << name;
  }
}

TEST_F(EvalCommandTest, bad_requests_are_one_line) {
  const std::string tasks = file("choices.jsonl");
  expect_error_line(testing_support::refusal(add_eval_command, {"eval"}),
                    "DIR: expected a model folder, found none");
  expect_error_line(refused({}), "--tasks: expected names of tasks, found none");
  expect_error_line(refused({"--tasks", "arc_hard"}), "arc_hard: expected a task");
  expect_error_line(refused({"--tasks", "text"}), "--text: expected held-out text");
  expect_error_line(refused({"--tasks", tasks, "--limit", "0"}), "--limit: expected at least 1");
  expect_error_line(refused({"--tasks", tasks, "--batch", "many"}),
                    "--batch: expected auto or a number of tokens, found many");
  expect_error_line(refused({"--tasks", tasks, "--ll-dtype", "fp8"}),
                    "--ll-dtype: expected float32");
  expect_error_line(refused({"--tasks", tasks, "--ruler-rule", "own"}),
                    "--ruler-rule: expected ruler");
  for (const std::string flag : {"--samples", "--context", "--contexts", "--lengths", "--prompts",
                                 "--windows", "--max-length", "--depths"}) {
    expect_error_line(refused({"--tasks", tasks, flag, "9223372036854775807"}),
                      flag + ": expected ");
  }
  expect_error_line(refused({"--tasks", tasks, "--needles=9"}), "--needles: expected 1 to 8");
}

TEST_F(EvalCommandTest, a_files_choices_are_scored_as_they_stand) {
  write_file(root_ / "code.jsonl",
             R"~({"context": "print(", "choices": ["x)", " y)"], "answer": 0}
{"context": "The sky is", "choices": ["blue"], "answer": 0, "target_delimiter": " "}
)~");
  const ProgramResult result =
      eval({"--tasks", file("code.jsonl"), "--log-samples", file("samples.jsonl")});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(read_file(root_ / "samples.jsonl"),
              AllOf(HasSubstr(R"~([["print(","x)"],["print("," y)"]])~"),
                    HasSubstr(R"~([["The sky is"," blue"]])~")));
  EXPECT_THAT(result.error, Not(HasSubstr("target_delimiter")));
  EXPECT_THAT(eval({"--tasks", file("choices.jsonl")}).error,
              HasSubstr("choices.jsonl: every choice goes on with its context's last word"));
}

TEST_F(EvalCommandTest, missing_files_are_named) {
  const std::string tasks = file("choices.jsonl");
  expect_error_line(eval({"--tasks", "piqa", "--data-dir", file("none")}), "none");
  expect_error_line(eval({"--tasks", "text", "--text", file("none.txt")}), "none.txt");
  for (const std::string flag : {"--out", "--log-samples"}) {
    const ProgramResult result = eval({"--tasks", tasks, flag, file("none/file")});
    expect_error_line(result, "none/file: cannot write: No such file");  // before anything ran
  }
}

TEST_F(EvalCommandTest, answers_too_long_for_the_model_are_refused_before_anything_runs) {
  const ProgramResult result = eval(
      {"--tasks", file("choices.jsonl") + "," + file("completions.jsonl"), "--max-length", "40"});
  expect_error_line(result, "completions.jsonl: item 0: tokens of an answer: expected 1 to 39");
}

TEST_F(EvalCommandTest, what_cannot_be_written_costs_nothing_else) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const ProgramResult result = eval({"--tasks", file("choices.jsonl"), "--out",
                                     file("results.json"), "--log-samples", "/dev/full"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.error, HasSubstr("/dev/full: cannot write: No space left"));
  EXPECT_THAT(result.out, HasSubstr("acc_norm"));
  EXPECT_EQ(read_json(root_ / "results.json")["results"].size(), 1U);
}

class TextCommandTest : public EvalCommandTest {
 protected:
  TextCommandTest() {
    testing_support::write_tiny_model(folder(), 4096);
    fs::copy_file(fs::path(HYPENET_SOURCE) / "models/tiny-teacher/tokenizer.json",
                  folder() / "tokenizer.json");
    write_json(folder() / "tokenizer_config.json", {{"eos_token", "<|endoftext|>"}});
    std::string text;
    for (int i = 0; i < 80; ++i) text += concat("This is sentence number ", i, ". ");
    write_file(root_ / "text.txt", text);
  }
};

TEST_F(TextCommandTest, tokenized_text_is_measured_like_its_files) {
  const std::string shards = file("shards");
  const ProgramResult tokenized = run_program(
      {"data", "tokenize", "--tokenizer", folder().string(), "--out", shards, file("text.txt")});
  ASSERT_EQ(tokenized.code, 0) << tokenized.error;
  EXPECT_EQ(tokenized.out, shards + "\n");
  EXPECT_THAT(tokenized.error, HasSubstr("tokenize: 1 documents, "));
  std::vector<Json> results;
  for (const std::string& text : {file("text.txt"), shards}) {
    const ProgramResult result = eval({"--tasks", "text,recall", "--text", text, "--context", "64",
                                       "--windows", "4", "--contexts", "150,200", "--prompts", "3",
                                       "--needles", "2", "--out", file("results.json")});
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_THAT(result.out, AllOf(HasSubstr("text/64"), HasSubstr("perplexity"),
                                  HasSubstr("recall/150"), HasSubstr("recall/200")));
    results.push_back(read_json(root_ / "results.json")["results"]);
  }
  EXPECT_EQ(results[0], results[1]);
  const Tokenizer tokenizer = Tokenizer::load(folder());
  std::vector<int32_t> prose = tokenizer.encode(read_file(root_ / "text.txt"));
  prose.push_back(tokenizer.eos_id().value());
  CausalLm model = load_model(Checkpoint(folder()));
  const torch::NoGradGuard no_grad;
  double loss = 0;  // by a plain forward
  for (const ScoredRow& row : text_rows(prose, 64, 4)) {
    const Tensor ids = torch::tensor(row.ids).to(torch::kInt64);
    const Tensor logits = model(ids.slice(0, 0, 64).unsqueeze(0))[0];
    loss += torch::cross_entropy_loss(logits, ids.slice(0, 1)).item<double>() / 4;
  }
  const double expected = std::exp(loss);
  EXPECT_NEAR(results[0]["text/64"]["perplexity,none"].get<double>(), expected, expected * 1e-5);
  EXPECT_TRUE(results[0]["recall/200"].contains("exact_stderr,none"));
}

TEST_F(TextCommandTest, a_needle_grid_shows_both_models) {
  std::vector<std::string> command = {"--tasks", "needle-grid", "--needle",
                                      "facts",   "--text",      file("text.txt")};
  command.insert(command.end(), {"--contexts", "150,200,150", "--depths", "2", "--samples", "3"});
  command.insert(command.end(), {"--compare-with", HYPENET_SOURCE "/models/tiny-teacher"});
  command.insert(command.end(), {"--plot", file("grid.svg"), "--out", file("results.json")});
  command.insert(command.end(), {"--attn-logits-scaling", "hype 20"});
  const ProgramResult result = eval(command);
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out,
              HasSubstr("model\ndepth   150   200 \n   0%    0%    0% \n 100%    0%    0% \n"));
  EXPECT_THAT(result.out, HasSubstr("tiny-teacher\ndepth   150   200 \n"));
  EXPECT_THAT(read_file(root_ / "grid.svg"), HasSubstr("</svg>"));
  const Json grids = read_json(root_ / "results.json")["needle_grids"];
  ASSERT_EQ(grids.size(), 2U);
  EXPECT_THAT(grids[0]["name"].get<std::string>(), testing::EndsWith("/model"));
  EXPECT_EQ(grids[0]["mean"], 0);
  EXPECT_EQ(grids[1]["name"], "tiny-teacher");
  EXPECT_GT(grids[1]["mean"], 0.5);
  // The scaling that was asked for is the first model's.
  const auto config_of = [&](const std::string& journal) {
    const std::string text = read_file(root_ / journal);
    const Json header = Json::parse(text.substr(0, text.find('\n')));
    return header["identity"]["model"]["config"];
  };
  const char* const kScaling = "attn_logits_scaling";
  EXPECT_EQ(config_of("results.json.journal")[kScaling], "hype 20");
  EXPECT_FALSE(config_of("results.json.journal.compared").contains(kScaling));
}

TEST_F(TextCommandTest, ruler_runs_a_length_once_and_by_the_rule_that_is_asked_for) {
  std::vector<std::string> samples;
  for (const std::string rule : {"ruler", "harness"}) {
    const ProgramResult result =
        eval({"--tasks", "niah_single_1", "--lengths", "512,512", "--samples", "1", "--ruler-rule",
              rule, "--out", file("results.json"), "--log-samples", file("samples.jsonl")});
    ASSERT_EQ(result.code, 0) << result.error;
    const size_t row = result.out.find("niah_single_1/512");
    EXPECT_EQ(result.out.find("/512", row + 17), std::string::npos) << result.out;
    EXPECT_EQ(read_json(root_ / "results.json")["config"]["ruler_rule"], rule);
    samples.push_back(read_file(root_ / "samples.jsonl"));
  }
  EXPECT_NE(samples[0], samples[1]);
}

TEST_F(TextCommandTest, lengths_beyond_the_models_are_one_warning_in_every_task_and_command) {
  testing_support::write_tiny_model(folder(), 4096, 3);
  fs::copy_file(fs::path(HYPENET_SOURCE) / "models/tiny-teacher/tokenizer.json",
                folder() / "tokenizer.json");
  Json config = read_json(folder() / "config.json");
  config["max_position_embeddings"] = 128;
  write_json(folder() / "config.json", config);
  const auto expect_warning = [](const ProgramResult& result, const std::string& place,
                                 const std::string& tokens) {
    EXPECT_EQ(result.code, 0) << result.error;
    const std::string text = concat("hypenet: warning: ", place, ": ", tokens,
                                    " tokens are more than the 128 that this model was made for "
                                    "(config.json: max_position_embeddings)\n");
    const size_t found = result.error.find(text);
    ASSERT_NE(found, std::string::npos) << result.error;
    EXPECT_EQ(result.error.find("warning", found + text.size()), std::string::npos) << result.error;
    EXPECT_THAT(result.error, Not(HasSubstr("lost their beginning")));
  };
  const std::string text = file("text.txt");
  expect_warning(eval({"--tasks", "text", "--text", text, "--context", "150", "--windows", "1"}),
                 "--context", "150");
  expect_warning(eval({"--tasks", "recall", "--text", text, "--contexts", "150,200", "--prompts",
                       "1", "--needles", "1"}),
                 "--contexts", "200");
  expect_warning(eval({"--tasks", "niah_single_1", "--lengths", "512", "--samples", "1"}),
                 "--lengths", "512");
  expect_warning(eval({"--tasks", "needle-grid", "--needle", "facts", "--text", text, "--contexts",
                       "200", "--depths", "2", "--samples", "1"}),
                 "--contexts", "200");
  expect_warning(
      run_program({"generate", folder().string(), "--prompt", "a b c", "--tokens", "126"}),
      "prompt and --tokens", "129");
  std::string ids = "1";
  for (int i = 0; i < 128; ++i) ids += ",2";
  expect_warning(
      run_program({"logits", folder().string(), "--ids", ids, "--out", file("logits.safetensors")}),
      "--ids", "129");
  testing_support::write_tiny_model(root_ / "long", 4096, 4);  // reads 4096
  fs::copy_file(folder() / "tokenizer.json", root_ / "long/tokenizer.json");
  expect_warning(run_program({"compare", folder().string(), file("long"), "--text", text,
                              "--context", "150", "--windows", "1"}),
                 "--context, " + folder().string(), "150");
}

TEST_F(TextCommandTest, prompts_longer_than_what_was_asked_for_are_refused) {
  const std::string expected = "expected at most 512 tokens (--max-length), found 1024";
  expect_error_line(eval({"--tasks", "niah_single_1", "--lengths", "1024", "--max-length", "512"}),
                    "--lengths: " + expected);
  expect_error_line(eval({"--tasks", "needle-grid", "--needle", "facts", "--text", file("text.txt"),
                          "--contexts", "1024", "--max-length", "512"}),
                    "--contexts: " + expected);
}

TEST_F(TextCommandTest, results_say_how_each_task_was_measured) {
  ASSERT_EQ(eval({"--tasks",    "text,recall,niah_single_1," + file("choices.jsonl"),
                  "--text",     file("text.txt"),
                  "--context",  "64",
                  "--windows",  "2",
                  "--contexts", "150",
                  "--prompts",  "1",
                  "--needles",  "1",
                  "--seed",     "7",
                  "--lengths",  "512",
                  "--samples",  "1",
                  "--out",      file("results.json")})
                .code,
            0);
  const Json json = read_json(root_ / "results.json");
  const Json& settings = json["task_settings"];
  EXPECT_EQ(settings["text/64"]["text"], Json({file("text.txt")}));
  EXPECT_GT(settings["text/64"]["text_tokens"], 100);
  EXPECT_EQ(settings["text/64"]["windows"], 2);
  EXPECT_EQ(settings["text/64"]["context"], 64);
  EXPECT_FALSE(settings["text/64"].contains("seed"));
  EXPECT_EQ(settings["recall/150"]["needles"], 1);
  EXPECT_EQ(settings["recall/150"]["prompts"], 1);
  EXPECT_EQ(settings["recall/150"]["seed"], 7);
  EXPECT_EQ(settings["recall/150"]["text"], Json({file("text.txt")}));
  EXPECT_EQ(settings["niah_single_1/512"]["seed"], 7);
  EXPECT_EQ(settings["niah_single_1/512"]["ruler_rule"], "ruler");
  EXPECT_EQ(settings[file("choices.jsonl")]["max_length"], 4096);
  EXPECT_TRUE(settings[file("choices.jsonl")]["limit"].is_null());
}

TEST_F(TextCommandTest, a_journal_is_kept_of_what_has_answers_alone) {
  const std::vector<std::string> measure = {"--text", file("text.txt"),    "--context",
                                            "64",     "--windows",         "2",
                                            "--out",  file("results.json")};
  const auto run = [&](const std::string& tasks) {
    std::vector<std::string> options = measure;
    options.insert(options.end(), {"--tasks", tasks});
    const ProgramResult result = eval(options);
    EXPECT_EQ(result.code, 0) << result.error;
    return result.error;
  };
  EXPECT_THAT(run("text"), Not(HasSubstr("answers")));
  EXPECT_FALSE(fs::exists(root_ / "results.json.journal"));
  EXPECT_THAT(run("text," + file("choices.jsonl")),
              HasSubstr("answers but those of text and recall are kept in "));
  EXPECT_TRUE(fs::exists(root_ / "results.json.journal"));
}

TEST_F(TextCommandTest, text_that_cannot_be_measured_is_refused_before_anything_runs) {
  const std::string text = file("text.txt");
  const ProgramResult result = eval({"--tasks", "text,recall", "--text", text, "--context", "64",
                                     "--windows", "1", "--contexts", "150,8", "--prompts", "1"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.error, Not(HasSubstr("windows of text")));
  EXPECT_EQ(result.error.find('\n'), result.error.size() - 1) << result.error;
}

TEST_F(TextCommandTest, a_model_compared_with_itself_is_itself) {
  const ProgramResult result = run_program(
      {"compare", folder().string(), folder().string(), "--text", file("text.txt"), "--context",
       "40", "--windows", "3", "--plot", file("compare.svg"), "--json", file("compare.json")});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, AllOf(HasSubstr("1 to 16"), HasSubstr("33 to 40"), HasSubstr("all")));
  const Json json = read_json(root_ / "compare.json");
  EXPECT_EQ(json["windows"], 3);
  ASSERT_EQ(json["positions"]["kl"].size(), 40U);
  for (const Json& bucket : json["buckets"]) {
    EXPECT_EQ(bucket["kl"], 0);
    EXPECT_EQ(bucket["agreement"], 1);
    EXPECT_EQ(bucket["perplexity_a"], bucket["perplexity_b"]);
  }
  const std::string svg = read_file(root_ / "compare.svg");
  EXPECT_THAT(svg, AllOf(HasSubstr("Same first choice"), HasSubstr("Perplexity")));
  EXPECT_EQ(svg.find("<svg"), svg.rfind("<svg"));
}

TEST_F(TextCommandTest, a_student_is_compared_with_the_scaling_that_is_asked_for) {
  const ProgramResult result = run_program(
      {"compare", folder().string(), folder().string(), "--text", file("text.txt"), "--context",
       "40", "--windows", "3", "--attn-logits-scaling", "2.5", "--json", file("compare.json")});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json json = read_json(root_ / "compare.json");
  EXPECT_EQ(json["attn_logits_scaling_a"], nullptr);
  EXPECT_EQ(json["attn_logits_scaling_b"], 2.5);
  EXPECT_GT(json["buckets"].back()["kl"], 0);
}

TEST_F(TextCommandTest, models_that_cannot_be_compared_are_an_error) {
  testing_support::write_byte_model(root_ / "other");
  const auto compare = [&](const std::string& other, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"compare", folder().string(), file(other), "--text",
                                          file("text.txt")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  expect_error_line(compare("other", {"--context", "40"}),
                    "expected the first model's 4096 tokens");
  expect_error_line(compare("none", {}), "none");
  expect_error_line(compare("model", {"--context", "0"}),
                    "--context: expected 1 to 16777216, found 0");
  expect_error_line(compare("model", {"--context", "9999"}), "expected a text of at least 10000");
}

}  // namespace
}  // namespace hypenet
