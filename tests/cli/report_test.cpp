// hypenet report on what eval, compare and bench decode write, as a user runs them.
#include <gmock/gmock.h>

#include <filesystem>

#include "base/json.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"

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
)";
constexpr const char* kMetrics =
    R"({"stage":"2-align","step":10,"steps":20,"loss":0.5,"learning_rate":0.1,"gradient_norm":1,"tokens_per_second":99}
{"stage":"2-align","step":20,"steps":20,"loss":0.25,"learning_rate":0.1,"gradient_norm":1,"tokens_per_second":99}
)";

class ReportCommandTest : public testing::Test {
 protected:
  std::string file(const std::string& name) const { return (root_ / name).string(); }

  ProgramResult report(std::vector<std::string> options) const {
    options.insert(options.begin(), {"report", "--out", file("page.html")});
    return run_program(options);
  }

  /// results.json of a small model on two questions.
  void evaluate(const std::string& model, uint64_t seed) const {
    testing_support::write_byte_model(root_ / model, seed);
    write_file(root_ / "choices.jsonl", kChoices);
    const ProgramResult result =
        run_program({"eval", file(model), "--tasks", file("choices.jsonl"), "--out",
                     file(model + ".json"), "--attn-logits-scaling", "hype 20"});
    ASSERT_EQ(result.code, 0) << result.error;
  }

  TemporaryFolder root_;
};

TEST_F(ReportCommandTest, results_become_a_page_pictures_and_markdown) {
  evaluate("teacher", 3);
  evaluate("student", 4);
  write_file(root_ / "text.txt", std::string(200, 'x') + std::string(200, 'y'));
  ProgramResult result =
      run_program({"compare", file("teacher"), file("student"), "--text", file("text.txt"),
                   "--context", "40", "--windows", "2", "--json", file("compare.json")});
  ASSERT_EQ(result.code, 0) << result.error;
  write_file(root_ / "metrics.jsonl", kMetrics);
  write_json(root_ / "decode.json",
             {{{"shape", "hypenet-2b"}, {"context", 4096}, {"ms", 1.5}, {"cache_bytes", 99}}});
  fs::create_directory(root_ / "docs");
  result = report({"--title", "Two models", "--images", file("images"), "--markdown",
                   file("docs/tables.md"), "--model", "the teacher=" + file("teacher.json"),
                   "--model", "after stage 2=" + file("student.json"), "--compare",
                   "after stage 2=" + file("compare.json"), "--bench", file("decode.json"),
                   "--training", "stage 2=" + file("metrics.jsonl")});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.error, concat("report: wrote ", file("page.html"), ", ", file("docs/tables.md"),
                                 ", ", file("images/*.svg"), "\n"));
  EXPECT_THAT(read_file(root_ / "page.html"),
              AllOf(HasSubstr("<h1>Two models</h1>"), HasSubstr("<th>the teacher</th>"),
                    HasSubstr("choices.jsonl</td><td>acc_norm</td><td>0</td><td>2</td>"),
                    HasSubstr("<td>hype 20</td>"), HasSubstr("Perplexity along the context"),
                    HasSubstr("hypenet-2b"), HasSubstr("Loss of 2-align")));
  const std::string markdown = read_file(root_ / "docs/tables.md");
  EXPECT_THAT(markdown, HasSubstr("![KL along the context](<../images/kl-along-the-context.svg>)"));
  EXPECT_THAT(markdown, HasSubstr("| 1 to 16 |"));
  for (const char* image :
       {"kl-along-the-context.svg", "loss-of-2-align.svg", "decode-milliseconds-a-token.svg",
        "perplexity-along-the-context.svg"}) {
    EXPECT_THAT(read_file(root_ / "images" / image), HasSubstr("</svg>")) << image;
  }
}

TEST_F(ReportCommandTest, files_of_one_model_are_separated_by_commas) {
  write_json(root_ / "a.json", {{"results", {{"piqa", {{"acc_norm,none", 0.5}}}}}});
  write_json(root_ / "b.json", {{"results", {{"winogrande", {{"acc,none", 0.25}}}}}});
  const std::string both = "m=" + file("a.json") + "," + file("b.json");
  ASSERT_EQ(report({"--model", both}).code, 0);
  EXPECT_THAT(read_file(root_ / "page.html"), AllOf(HasSubstr("piqa"), HasSubstr("winogrande")));
  expect_error_line(report({"--model", both + "," + file("a.json")}), "a.json: piqa: expected");
}

TEST_F(ReportCommandTest, a_conversions_results_are_two_columns) {
  const auto side = [](double perplexity) {
    return Json{{"context", 512},
                {"perplexity", perplexity},
                {"next_token_accuracy", 0.25},
                {"recall", {{{"context", 256}, {"share", 0.5}, {"error", 0.05}}}},
                {"cache", Json::array()}};
  };
  write_json(root_ / "results.json", {{"settings", {{"teacher", "models/t"}}},
                                      {"attention_layers", {1}},
                                      {"teacher", side(10)},
                                      {"hypenet", side(11.5)}});
  const std::string results = file("results.json");
  const ProgramResult result = report({"--teacher", "T=" + results, "--model", "H=" + results});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(read_file(root_ / "page.html"),
              AllOf(HasSubstr("<th>T</th><th>H</th>"), HasSubstr("<td>10.00</td><td>11.50</td>"),
                    HasSubstr("recall"), HasSubstr("models/t")));
  write_json(root_ / "a.json", {{"results", Json::object()}});
  expect_error_line(report({"--teacher", "T=" + file("a.json")}),
                    "--teacher: T: expected the results.json of a conversion, found others");
  expect_error_line(report({"--teacher", "x=" + results, "--model", "x=" + results}),
                    "--teacher: expected another name than --model has, found x");
}

TEST_F(ReportCommandTest, what_is_read_is_not_written_over) {
  write_json(root_ / "page.html", {{"results", {{"piqa", {{"acc_norm,none", 0.5}}}}}});
  expect_error_line(report({"--model", "m=" + file("page.html")}),
                    "--out: expected another file than those that are read");
  EXPECT_TRUE(read_json(root_ / "page.html").contains("results"));
}

TEST_F(ReportCommandTest, pictures_that_there_are_none_of_are_not_told) {
  write_json(root_ / "a.json", {{"results", {{"piqa", {{"acc_norm,none", 0.5}}}}}});
  const ProgramResult result =
      report({"--images", file("images"), "--model", "m=" + file("a.json")});
  EXPECT_EQ(result.error, concat("report: wrote ", file("page.html"), "\n"));
  EXPECT_TRUE(fs::is_empty(root_ / "images"));
}

TEST_F(ReportCommandTest, links_lead_from_the_markdown_file_to_the_pictures) {
  write_file(root_ / "metrics.jsonl", kMetrics);
  fs::create_directory(root_ / "docs");
  const auto link = [&](const std::string& images, const std::string& markdown) {
    const ProgramResult result = report({"--images", file(images), "--markdown", file(markdown),
                                         "--training", "x=" + file("metrics.jsonl")});
    EXPECT_EQ(result.code, 0) << result.error;
    return read_file(root_ / markdown);
  };
  EXPECT_THAT(link("images", "docs/../up.md"), HasSubstr("(<images/loss-of-2-align.svg>)"));
  EXPECT_THAT(link("docs/../images/", "docs/x.md"), HasSubstr("(<../images/loss-of-2-align.svg>)"));
}

TEST_F(ReportCommandTest, bad_requests_are_one_line_and_write_nothing) {
  write_json(root_ / "a.json", {{"results", Json::object()}});
  const std::string a = file("a.json");
  expect_error_line(report({}),
                    "report: expected --model, --teacher, --compare, --bench or --training");
  expect_error_line(report({"--model", a}), "--model: expected NAME=FILE, found \"" + a);
  expect_error_line(report({"--model", "=" + a}), "--model: expected NAME=FILE");
  expect_error_line(report({"--model", "m=" + a + ","}), "--model: m: expected files separated by");
  expect_error_line(report({"--model", "m=" + a, "--model", "m=" + a}),
                    "--model: expected each name once, found twice: m");
  expect_error_line(report({"--compare", "m=" + a + "," + a}), "--compare: m: expected one file");
  expect_error_line(report({"--compare", "m=" + a}), "a.json: expected \"a\", found none");
  expect_error_line(report({"--model", "m=" + file("none.json")}), "none.json");
  expect_error_line(run_program({"report", "--model", "m=" + a, "--out", file("none/x.html")}),
                    "none/x.html: cannot write");
  expect_error_line(report({"--model", "m=" + a, "--images", a}),
                    "a.json: expected a folder, found a file");
  expect_error_line(report({"--model", "m=" + a, "--images", a + "/below"}),
                    "below: expected a folder, found a file");
  expect_error_line(report({"--model", "m=" + a, "--markdown", file("./page.html")}),
                    "--markdown: expected another file than --out, found ");
  EXPECT_FALSE(fs::exists(root_ / "page.html"));
}

}  // namespace
}  // namespace hypenet
