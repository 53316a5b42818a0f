// hypenet report: one page, tables and pictures from the result files of several models.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "cli/commands.h"
#include "cli/outputs.h"
#include "eval/model_report.h"
#include "report/markdown.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(Examples:
  hypenet report --out results.html --teacher teacher=out/tiny/results.json \
    --model HypeNet=out/tiny/results.json,eval.json
  hypenet report --out results.html --images images --markdown results.md \
    --model "teacher=eval_teacher.json" --model "after stage 2=eval_2.json,ruler_2.json" \
    --compare "after stage 2=compare_2.json" --bench decode.json --training "stage 2=metrics.jsonl")";

struct ReportCommand {
  std::string title = "Results";
  fs::path out;
  std::optional<fs::path> images, markdown;
  std::vector<std::string> teachers, models, comparisons, training;  // NAME=FILE
  std::vector<fs::path> speeds;
};

/// NAME=FILE or NAME=FILE,FILE.
struct NamedFiles {
  std::string name;
  std::vector<fs::path> files;
};

NamedFiles parse_named(const char* flag, const std::string& text) {
  const size_t equals = text.find('=');
  HYPENET_CHECK(equals != std::string::npos && equals > 0 && equals + 1 < text.size(), flag,
                ": expected NAME=FILE, found \"", text, "\"");
  NamedFiles named{text.substr(0, equals), {}};
  for (size_t at = equals + 1; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    HYPENET_CHECK(end > at, flag, ": ", named.name, ": expected files separated by commas, found ",
                  "\"", text.substr(equals + 1), "\"");
    named.files.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return named;
}

std::vector<NamedFiles> parse_all(const char* flag, const std::vector<std::string>& texts) {
  std::vector<NamedFiles> all;
  std::set<std::string> names;
  for (const std::string& text : texts) {
    all.push_back(parse_named(flag, text));
    HYPENET_CHECK(names.insert(all.back().name).second, flag,
                  ": expected each name once, found twice: ", all.back().name);
  }
  return all;
}

std::vector<ResultFile> read_files(const std::vector<fs::path>& paths) {
  std::vector<ResultFile> files;
  files.reserve(paths.size());
  for (const fs::path& path : paths) files.push_back({path.string(), read_json(path)});
  return files;
}

const fs::path& only_file(const char* flag, const NamedFiles& named) {
  HYPENET_CHECK(named.files.size() == 1, flag, ": ", named.name, ": expected one file, found ",
                named.files.size());
  return named.files.front();
}

/// The files of each flag, by the names that the page gives them.
struct Inputs {
  std::vector<NamedFiles> teachers, models, comparisons, training;

  std::vector<fs::path> all() const {
    std::vector<fs::path> files;
    for (const auto* named : {&teachers, &models, &comparisons, &training}) {
      for (const NamedFiles& some : *named) {
        files.insert(files.end(), some.files.begin(), some.files.end());
      }
    }
    return files;
  }
};

Inputs parse_inputs(const ReportCommand& command) {
  Inputs inputs = {parse_all("--teacher", command.teachers), parse_all("--model", command.models),
                   parse_all("--compare", command.comparisons),
                   parse_all("--training", command.training)};
  for (const NamedFiles& teacher : inputs.teachers) {
    HYPENET_CHECK(
        std::ranges::find(inputs.models, teacher.name, &NamedFiles::name) == inputs.models.end(),
        "--teacher: expected another name than --model has, found ", teacher.name);
  }
  return inputs;
}

ModelReportData read_data(const ReportCommand& command, const Inputs& inputs) {
  ModelReportData data;
  const auto add_models = [&](const std::vector<NamedFiles>& all, ConversionSide side) {
    for (const NamedFiles& named : all) {
      const std::vector<ResultFile> files = read_files(named.files);
      const bool has_teacher = std::ranges::any_of(
          files, [](const ResultFile& file) { return is_conversion(file.json); });
      HYPENET_CHECK(side == ConversionSide::kStudent || has_teacher, "--teacher: ", named.name,
                    ": expected the results.json of a conversion, found others (--model takes "
                    "those of hypenet eval)");
      data.models.push_back(read_model_results(named.name, files, side));
    }
  };
  add_models(inputs.teachers, ConversionSide::kTeacher);
  add_models(inputs.models, ConversionSide::kStudent);
  for (const NamedFiles& named : inputs.comparisons) {
    const fs::path& path = only_file("--compare", named);
    data.comparisons.push_back(read_comparison(named.name, {path.string(), read_json(path)}));
  }
  data.speeds = read_decode_speeds(read_files(command.speeds));
  for (const NamedFiles& named : inputs.training) {
    const fs::path& path = only_file("--training", named);
    std::ranges::move(read_training(named.name, path.string(), read_file(path)),
                      std::back_inserter(data.curves));
  }
  return data;
}

/// A folder, or one that can be made: the first part of its path that is there is a folder.
void check_images(const fs::path& folder) {
  fs::path existing = plain_path(folder);
  while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
  HYPENET_CHECK(fs::is_directory(existing), "--images: ", folder.string(),
                ": expected a folder, found a file, ", existing.string());
  check_writable(existing / "image.svg");
}

std::vector<Output> outputs_of(const ReportCommand& command) {
  return {{"--out", command.out}, {"--markdown", command.markdown}};
}

void check(const ReportCommand& command, const Inputs& inputs) {
  HYPENET_CHECK(
      !command.teachers.empty() || !command.models.empty() || !command.comparisons.empty() ||
          !command.speeds.empty() || !command.training.empty(),
      "report: expected --model, --teacher, --compare, --bench or --training, found ", "none");
  std::vector<fs::path> read = inputs.all();
  read.insert(read.end(), command.speeds.begin(), command.speeds.end());
  check_outputs(outputs_of(command), read);
  if (command.images) check_images(*command.images);
}

/// Whether the report has any.
bool write_images(const fs::path& folder, const Report& report) {
  std::error_code error;
  fs::create_directories(folder, error);
  HYPENET_CHECK(!error, folder.string(), ": cannot make the folder: ", error.message());
  const std::vector<ReportImage> images = report_images(report);
  for (const ReportImage& image : images) write_file(folder / image.file, image.svg);
  return !images.empty();
}

/// The folder of images as links in the Markdown file name it.
std::string image_folder(const ReportCommand& command) {
  if (!command.images) return "";
  const fs::path from = plain_path(*command.markdown).parent_path();
  return plain_path(*command.images).lexically_proximate(from).generic_string();
}

void run_report(const ReportCommand& command) {
  const Inputs inputs = parse_inputs(command);
  check(command, inputs);
  const Report report = model_report(command.title, read_data(command, inputs));
  std::vector<Output> written = outputs_of(command);
  write_report(command.out, report);
  if (command.images && write_images(*command.images, report)) {
    written.push_back({"--images", *command.images / "*.svg"});
  }
  if (command.markdown) {
    write_file(*command.markdown, format_markdown(report, image_folder(command)));
  }
  tell_written("report", written);
}

}  // namespace

void add_report_command(CLI::App& app) {
  const auto options = std::make_shared<ReportCommand>();
  CLI::App* command =
      app.add_subcommand("report", "one page, tables and pictures from results of several models");
  command->add_option("--out", options->out, "HTML page to write")->required();
  command->add_option("--images", options->images, "folder to write: an SVG file a picture");
  command->add_option("--markdown", options->markdown, "file to write: the tables as Markdown");
  command->add_option("--title", options->title, "of the page")->capture_default_str();
  command->add_option("--model", options->models,
                      "NAME=results.json of hypenet eval, or of a conversion, whose HypeNet it "
                      "is; or NAME=a.json,b.json (repeatable)");
  command->add_option("--teacher", options->teachers,
                      "NAME=results.json of a conversion: its teacher (repeatable)");
  command->add_option("--compare", options->comparisons,
                      "NAME=JSON of hypenet compare (repeatable)");
  command->add_option("--bench", options->speeds, "JSON of hypenet bench decode (repeatable)");
  command->add_option("--training", options->training,
                      "NAME=metrics.jsonl of a training run (repeatable)");
  command->footer(kExamples);
  command->callback([options] { run_report(*options); });
}

}  // namespace hypenet
