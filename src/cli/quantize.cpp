// hypenet quantize: a model folder whose linear layers are int8, int4 or fp8, and a report of what
// that costs.
#include "quantize/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_folder.h"
#include "cli/note.h"
#include "cli/progress.h"
#include "data/held_out.h"
#include "eval/measures.h"
#include "model/weights.h"
#include "quantize/kept_layers.h"
#include "quantize/report.h"
#include "report/markdown.h"
#include "run/run.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

// The sample of text that comes with the sources, seen from their folder.
constexpr const char* kSample = "data/train.jsonl.gz";
constexpr const char* kHeldOutSample = "data/valid.jsonl.gz";

constexpr const char* kExamples = R"(Examples:
  hypenet quantize out/tiny/model --to int4 --out out/tiny-int4
  hypenet quantize qwen.gguf --to int8 --held-out valid.jsonl --out qwen-int8
  hypenet quantize model --to int4 --data books.jsonl.gz --rows 64 --out model-int4)";

struct QuantizeCommand {
  fs::path folder, out;
  std::string to;
  std::string method;            // empty: gptq for int4, else nearest
  std::optional<int64_t> group;  // none: usual_group, or all inputs for fp8
  bool has_zeros = false, orders_columns = false;
  std::vector<std::string> data, held_out;
  std::string text_field = "text";
  int64_t rows = 32, context = 512, windows = 16;
  DeviceOptions device;
};

constexpr std::array<std::pair<const char*, CodeType>, 3> kForms = {
    {{"int8", CodeType::kInt8}, {"int4", CodeType::kInt4}, {"fp8", CodeType::kFloat8}}};

CodeType type_of_form(const std::string& name) {
  for (const auto& [known, type] : kForms) {
    if (name == known) return type;
  }
  throw Error(concat("--to: expected int8, int4 or fp8, found ", name));
}

QuantizeMethod method_of(const QuantizeCommand& command) {
  if (command.method.empty()) {
    return command.to == "int4" ? QuantizeMethod::kGptq : QuantizeMethod::kNearest;
  }
  for (const QuantizeMethod method : kQuantizeMethods) {
    if (command.method == method_name(method)) return method;
  }
  throw Error(
      concat("--method: expected nearest, search, gptq, awq or awq-gptq, found ", command.method));
}

void check_number(const char* flag, int64_t value, int64_t least, int64_t most) {
  HYPENET_CHECK(value >= least && value <= most, flag, ": expected ", least, " to ", most,
                ", found ", value);
}

/// All that can be found wrong before a file is read.
void check(const QuantizeCommand& command) {
  constexpr int64_t kMostGroup = 4096, kMostRows = 100'000, kMostTokens = 65'536;
  const bool is_int4 = type_of_form(command.to) == CodeType::kInt4;
  HYPENET_CHECK(is_int4 || !command.has_zeros, "--asymmetric: expected --to int4, found ",
                command.to);
  HYPENET_CHECK(!command.orders_columns || is_gptq(method_of(command)),
                "--act-order: expected --method gptq or awq-gptq, found ",
                method_name(method_of(command)));
  if (command.group) {
    HYPENET_CHECK(*command.group == 0 || command.to != "fp8",
                  "--group: expected --to int4 or int8, found ", command.to);
    check_number("--group", *command.group, is_int4 ? 8 : 0, kMostGroup);
    HYPENET_CHECK(*command.group % 8 == 0, "--group: expected a multiple of 8, found ",
                  *command.group);
  }
  check_number("--rows", command.rows, 1, kMostRows);
  check_number("--context", command.context, 2, kMostTokens);
  check_number("--windows", command.windows, 1, kMostRows);
  HYPENET_CHECK(!fs::exists(command.out) || !fs::exists(command.folder) ||
                    !fs::equivalent(command.out, command.folder),
                "--out: expected another folder than the model's, found ", command.out.string());
  check_folder(command.out, model_folder_kind());
}

using Windows = std::vector<std::vector<int32_t>>;

/// Windows of `length` tokens, spread over the text.
Windows windows_of(const std::vector<int32_t>& text, int64_t length, int64_t count) {
  Windows windows;
  for (ScoredRow& row : text_rows(text, length - 1, count)) windows.push_back(std::move(row.ids));
  return windows;
}

struct Texts {
  Windows calibration = {}, held_out = {};
  Json calibration_name = nullptr, held_out_name = nullptr;
};

Json name_of(const std::vector<std::string>& paths) {
  return paths.size() == 1 ? Json(paths.front()) : Json(paths);
}

class TextReader {
 public:
  TextReader(const QuantizeCommand& command, const Tokenizer& tokenizer)
      : command_(command), tokenizer_(tokenizer) {}

  /// What is there of the two. The one that --data names serves both where --held-out is absent:
  /// its last tokens, a fifth at most, are held out.
  Texts read(bool calibrates) const {
    Texts texts;
    std::vector<int32_t> data;
    if (!command_.data.empty()) data = read_text(command_.data);
    if (command_.data.empty() && calibrates) data = read_sample();
    const bool has_own_held_out = !command_.held_out.empty() || command_.data.empty();
    if (has_own_held_out) {
      read_held_out_text(texts);
    } else {
      const std::vector<int32_t> tail = calibrates ? take_tail(data) : std::exchange(data, {});
      texts.held_out = held_out_windows(tail, command_.data.front());
      texts.held_out_name = name_of(command_.data);
    }
    if (!calibrates) return texts;
    const std::string place = command_.data.empty() ? kSample : command_.data.front();
    texts.calibration_name = command_.data.empty() ? Json(kSample) : name_of(command_.data);
    check_length(data, place, command_.context);
    texts.calibration = windows_of(data, command_.context, command_.rows);
    if (std::ssize(texts.calibration) < command_.rows) {
      print_note(fmt::format("{}: {} rows of {} tokens to calibrate on, fewer than --rows {}",
                             place, texts.calibration.size(), command_.context, command_.rows));
    }
    return texts;
  }

 private:
  std::vector<int32_t> read_text(const std::vector<std::string>& paths) const {
    return read_held_out(paths, command_.text_field, tokenizer_, print_note);
  }

  std::vector<int32_t> read_sample() const {
    HYPENET_CHECK(fs::exists(kSample), "--data: expected text to calibrate on, found none, and no ",
                  kSample, " here (--method nearest needs none)");
    print_note(concat("--data: none given: calibrates on the sample ", kSample));
    return read_held_out({kSample}, "text", tokenizer_, print_note);
  }

  void read_held_out_text(Texts& texts) const {
    std::vector<std::string> paths = command_.held_out;
    if (paths.empty()) {
      if (!fs::exists(kHeldOutSample)) {
        print_note("--held-out: none given: the report has no perplexity");
        return;
      }
      print_note(concat("--held-out: none given: measures on the sample ", kHeldOutSample));
      paths = {kHeldOutSample};
    }
    texts.held_out = held_out_windows(read_text(paths), paths.front());
    texts.held_out_name = name_of(paths);
  }

  std::vector<int32_t> take_tail(std::vector<int32_t>& data) const {
    const auto most = static_cast<size_t>(command_.windows * command_.context + 1);
    const size_t kept = data.size() - std::min(most, data.size() / 5);
    std::vector<int32_t> tail(data.begin() + static_cast<int64_t>(kept), data.end());
    data.resize(kept);
    return tail;
  }

  Windows held_out_windows(const std::vector<int32_t>& text, const std::string& place) const {
    check_length(text, place, command_.context + 1);
    return windows_of(text, command_.context + 1, command_.windows);
  }

  static void check_length(const std::vector<int32_t>& text, const std::string& place,
                           int64_t tokens) {
    HYPENET_CHECK(std::ssize(text) >= tokens, place, ": expected at least ", tokens,
                  " tokens of text for a row of --context, found ", text.size());
  }

  const QuantizeCommand& command_;
  const Tokenizer& tokenizer_;
};

/// "int4 in groups of 128, by gptq"
std::string form_text(const QuantizeCommand& command, const RoundingForm& form) {
  const QuantizeMethod method = method_of(command);
  const std::string scales =
      form.group == 0 ? ", a scale a row" : fmt::format(" in groups of {}", form.group);
  const std::string by =
      method == QuantizeMethod::kNearest ? "" : fmt::format(", by {}", method_name(method));
  return concat(command.to, command.has_zeros ? " with zeros" : "", scales, by,
                command.orders_columns ? " in the order of activations" : "");
}

Json settings_of(const QuantizeCommand& command, const RoundingForm& form, const Texts& texts) {
  Json settings = {{"to", command.to}, {"method", method_name(method_of(command))}};
  if (form.group > 0) settings["group"] = form.group;
  if (command.to == "int4") {
    settings["asymmetric"] = command.has_zeros;
    settings["act_order"] = command.orders_columns;
  }
  settings["data"] = texts.calibration_name;
  settings["rows"] = texts.calibration.size();
  settings["held_out"] = texts.held_out_name;
  settings["windows"] = texts.held_out.size();
  settings["context"] = command.context;
  return settings;
}

/// Groups that --group leaves open are of the usual size, if the model has one, which a note says
/// where it is not `kUsual`: int8 has a scale a row else, int4 none, which is an error later on.
RoundingForm form_of(const QuantizeCommand& command, const ModelConfig& config) {
  constexpr int64_t kUsual = 128, kLeast = 32;
  RoundingForm form{.type = type_of_form(command.to), .has_zeros = command.has_zeros};
  if (command.group || form.type == CodeType::kFloat8) {
    form.group = command.group.value_or(0);
    return form;
  }
  const int64_t found = std::min(kUsual, largest_group(config));
  if (found >= kLeast) {
    form.group = found;
  } else {
    form.group = form.type == CodeType::kInt8 ? 0 : kUsual;
  }
  if (found >= kLeast && found < kUsual) {
    print_note(
        fmt::format("--group: none given: {}, which divides the inputs of every layer, "
                    "as {} does not",
                    found, kUsual));
  }
  return form;
}

void write_folder(const QuantizeCommand& command, QuantisedModel& model,
                  const QuantizeSettings& about) {
  const Report report = quantize_report(model, about);
  write_checkpoint(
      command.out,
      {.config = model.config,
       .tensors = std::move(model.tensors),
       .run = run_record(
           {.name = "quantize", .settings = about.settings, .parents = {command.folder}}),
       .companions_from = command.folder,
       .reports = {{"report.html", format_page(report)},
                   {"report.md", format_markdown(report, "")},
                   {"report.json", quantize_json(model, about).dump(2) + "\n"}}});
}

/// Makes the folder under its temporary name and removes it: where that fails, no work is done.
void try_to_write(const fs::path& folder) { const FolderWriter made(folder, model_folder_kind()); }

void run_quantize(const QuantizeCommand& command) {
  check(command);
  use_device(command.device);
  const Checkpoint checkpoint = open_rounded(command.folder);
  const ModelConfig config = read_model_config(checkpoint, print_note);
  QuantizeOptions options{.form = form_of(command, config),
                          .method = method_of(command),
                          .gptq = {.orders_columns = command.orders_columns}};
  check_quantizable(checkpoint, config, options.form);
  const Tokenizer tokenizer = open_tokenizer(command.folder, config);
  Texts texts = TextReader(command, tokenizer).read(options.method != QuantizeMethod::kNearest);
  const QuantizeSettings about{.model = model_name(command.folder),
                               .form = form_text(command, options.form),
                               .settings = settings_of(command, options.form, texts)};
  options.calibration = std::move(texts.calibration), options.held_out = std::move(texts.held_out);
  try_to_write(command.out);
  // Without text there is little to lose.
  if (!options.calibration.empty() || !options.held_out.empty()) {
    options.kept = kept_layers_folder(command.out);
  }
  Progress progress;
  options.on_progress = [&](int64_t layer, std::string_view work) {
    throw_if_interrupted();
    progress.show(
        fmt::format("quantize: {} of {} layers done: {}", layer, config.num_hidden_layers, work));
  };
  QuantisedModel model = quantize_model(checkpoint, config, options);
  progress.finish(fmt::format("quantize: {} matrices", model.linears.size()));
  write_folder(command, model, about);
  model.tensors.clear();  // some are views of what goes now
  if (!options.kept.empty()) remove_folder(options.kept, kept_layers_kind());
  std::cout << about.model << " in " << about.form << "\n\n" << format_table(quantize_table(model));
  std::cerr << "quantize: wrote " << command.out.string() << ", report.html among it" << std::endl;
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  const auto options = std::make_shared<QuantizeCommand>();
  CLI::App* command = app.add_subcommand(
      "quantize", "write a model with linear layers of 8 or 4 bits, and what that costs");
  command->add_option("DIR", options->folder, "model folder, or a GGUF file")->required();
  command->add_option("--to", options->to, "int8, int4 or fp8")->required();
  command->add_option("--out", options->out, "model folder to write")->required();
  command->add_option(
      "--group", options->group,
      "inputs that share a scale, 0: all of int8 (default: 128, or what divides all inputs)");
  command->add_option(
      "--method", options->method,
      "nearest, search (of clips), gptq, awq or awq-gptq (default: gptq for int4, else "
      "nearest)");
  command->add_flag("--asymmetric", options->has_zeros,
                    "int4: codes reach from a group's least number to its largest");
  command->add_flag("--act-order", options->orders_columns,
                    "gptq: inputs that are largest are rounded first");
  command->add_option("--data", options->data,
                      "text to calibrate on: files or folders (default: data/train.jsonl.gz)");
  command->add_option("--held-out", options->held_out,
                      "text to measure on (default: the end of --data, else data/valid.jsonl.gz)");
  command->add_option("--text-field", options->text_field, "JSON field or Parquet column")
      ->capture_default_str();
  command->add_option("--rows", options->rows, "rows of text to calibrate on")
      ->capture_default_str();
  command->add_option("--context", options->context, "tokens of a row or window")
      ->capture_default_str();
  command->add_option("--windows", options->windows, "windows of held-out text")
      ->capture_default_str();
  command
      ->add_option("--threads", options->device.threads,
                   "CPU threads (0: OMP_NUM_THREADS, or one a physical core)")
      ->capture_default_str();
  command->footer(kExamples);
  command->callback([options] { run_quantize(*options); });
}

}  // namespace hypenet
