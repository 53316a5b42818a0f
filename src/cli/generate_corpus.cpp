// A corpus is known by its settings and by the checksums of the model's and the text's files, so
// that folders may move between the runs that make it.
#include "cli/generate_corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "cli/interrupt.h"
#include "cli/note.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "data/byte_writer.h"
#include "data/documents.h"
#include "gguf/model_files.h"
#include "run/run.h"
#include "run/teacher_text.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSteppedPrompt = 64;  // tokens; below, a prefill of its own takes longer
constexpr int64_t kDefaultTokens = 512, kGpuSequences = 1024, kCpuSequences = 16;

void check(const CorpusFlags& flags) {
  const std::string name = flags.file.filename().string();
  HYPENET_CHECK(name.ends_with(".jsonl") || name.ends_with(".jsonl.gz"),
                "--corpus: expected a file ending in .jsonl or .jsonl.gz, found ",
                flags.file.string());
  check_writable(flags.file);
  HYPENET_CHECK(flags.tokens > 0, "--corpus-tokens: expected at least 1, found ", flags.tokens);
  const auto files = document_files(flags.text);
  const bool has_fields = std::any_of(files.begin(), files.end(), [](const fs::path& file) {
    const std::string ending =
        (file.extension() == ".gz" ? file.stem() : file).extension().string();
    return ending != ".txt";
  });
  HYPENET_CHECK(has_fields || !flags.text_field,
                "--text-field: has no effect on plain text; .jsonl and .parquet files have fields");
}

std::string text_field(const CorpusFlags& flags) { return flags.text_field.value_or("text"); }

TeacherTextOptions text_options(const CorpusFlags& flags, const CorpusSampling& asked) {
  SamplingOptions defaults;
  defaults.temperature = 1;
  TeacherTextOptions options;
  options.min_prompt = flags.prompt_tokens.front();
  options.max_prompt = flags.prompt_tokens.back();
  options.answer.max_tokens = asked.tokens.value_or(kDefaultTokens);
  options.answer.sampling = sampling_options(asked.sampling, defaults, /*seeds_more=*/true);
  options.seed = asked.sampling.values.seed;
  const bool is_gpu = asked.model.device.device.starts_with("cuda");
  options.sequences = flags.sequences.value_or(is_gpu ? kGpuSequences : kCpuSequences);
  check_teacher_text(options);
  return options;
}

Json checksums(const std::vector<fs::path>& files) {
  Json sums = Json::array();
  for (const fs::path& file : files) {
    sums.push_back({{"file", file.filename().string()}, {"crc32", file_checksum(file)}});
  }
  return sums;
}

std::vector<fs::path> model_files(const fs::path& folder) {
  const ModelFiles model(folder);
  if (model.gguf()) return model.paths();
  std::vector<fs::path> files;
  for (const fs::path& path : model.paths()) {
    const std::string name = path.filename().string();
    const bool counts = name == "config.json" || name == "tokenizer.json";
    if (counts || name.ends_with(".safetensors")) files.push_back(path);
  }
  return files;
}

/// All that decides which text comes out, but for the rounding of device and type.
Json settings_of(const CorpusFlags& flags, const TeacherTextOptions& options, const fs::path& model,
                 const LogitsScaling& scaling) {
  Json settings = {{"model", checksums(model_files(model))},
                   {"attn_logits_scaling", to_json(scaling)},
                   {"text", checksums(document_files(flags.text))},
                   {"text_field", text_field(flags)},
                   {"corpus_tokens", flags.tokens},
                   {"prompt_tokens", {options.min_prompt, options.max_prompt}},
                   {"tokens", options.answer.max_tokens},
                   {"stop_ids", options.answer.stop_ids}};
  SamplingOptions::visit([&](const char* key, auto member, const auto&...) {
    settings[key] = options.answer.sampling.*member;
  });
  // Corpora made before these came do not name them.
  for (const char* key : {"presence_penalty", "frequency_penalty"}) {
    if (settings[key] == 0) settings.erase(key);
  }
  settings["seed"] = options.seed;
  return settings;
}

/// How far the corpus is, and how fast this process makes it.
class CorpusProgress {
 public:
  CorpusProgress(int64_t before, int64_t most) : before_(before), most_(most) {}

  void show(int64_t tokens) {
    progress_.show(fmt::format(
        "generate: {} of {} tokens, {} tokens/s, {} left", with_commas(tokens), with_commas(most_),
        with_commas(static_cast<int64_t>(rate(tokens))),
        readable_seconds(static_cast<double>(most_ - tokens) / std::max(rate(tokens), 1.0))));
  }

  void finish(const CorpusFile& corpus) {
    progress_.finish(fmt::format("generate: {} tokens of {} documents, {} tokens/s",
                                 with_commas(corpus.tokens()), with_commas(corpus.documents()),
                                 with_commas(static_cast<int64_t>(rate(corpus.tokens())))));
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  double rate(int64_t tokens) const {
    return static_cast<double>(tokens - before_) / std::max(seconds(), 1e-3);
  }

 private:
  Progress progress_;
  int64_t before_, most_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::vector<fs::path> parents(const CorpusFlags& flags, const fs::path& model) {
  std::vector<fs::path> paths = {model};
  paths.insert(paths.end(), flags.text.begin(), flags.text.end());
  return paths;
}

EngineOptions memory_of(const MemoryFlags& flags, const TeacherTextOptions& options) {
  EngineOptions memory = engine_options(flags, options.sequences);
  if (memory.max_context == 0) {
    memory.max_context = options.max_prompt + options.answer.max_tokens;
  }
  memory.stepped_prompt = kSteppedPrompt;
  return memory;
}

void write_corpus(const CorpusFlags& flags, const ModelOptions& model, const MemoryFlags& memory,
                  TeacherTextOptions options, Communicator& ranks) {
  const Checkpoint checkpoint(model.folder);
  const ModelConfig config = open_config(model, checkpoint);
  const Tokenizer tokenizer = open_tokenizer(model.folder, config);
  options.answer.stop_ids = stop_ids(checkpoint, tokenizer);
  const Json settings = settings_of(flags, options, model.folder, config.attn_logits_scaling);
  ranks.check_same("generate: settings", settings.dump());
  const bool is_first = ranks.ranks().is_first();
  if (ranks.any(is_first && is_corpus_done(flags.file, settings))) {
    std::cout << flags.file.string() << ": already there\n";
    return;
  }
  std::optional<CorpusFile> corpus;
  if (is_first) corpus.emplace(flags.file, settings, flags.tokens, tokenizer);
  const int64_t before = ranks.most(is_first ? corpus->tokens() : 0);
  const Beginnings beginnings(flags.text, text_field(flags), print_note);
  Engine engine(open_model(model, checkpoint), memory_of(memory, options));
  CorpusProgress progress(before, flags.tokens);
  write_teacher_text(
      engine, tokenizer, beginnings, options,
      {.ranks = ranks,
       .corpus = is_first ? &*corpus : nullptr,
       .stop = interrupt_flag(),
       .report = [&](int64_t tokens) { progress.show(std::min(tokens, flags.tokens)); }});
  if (!is_first) return;
  Json record =
      run_record({.name = "corpus", .settings = settings, .parents = parents(flags, model.folder)});
  record["device"] = model.device.device;
  record["dtype"] = model.type;
  record["ranks"] = ranks.ranks().count;
  record["sequences"] = options.sequences;
  record["seconds"] = progress.seconds();
  record["tokens_per_second"] = progress.rate(corpus->tokens());
  record["tokens_before"] = before;  // of processes that were stopped
  corpus->commit(std::move(record));
  progress.finish(*corpus);
  std::cout << flags.file.string() << '\n';
}

}  // namespace

CLI::Option* add_corpus_options(CLI::App& command, CorpusFlags& flags) {
  CLI::Option* corpus = command.add_option(
      "--corpus", flags.file,
      "write sampled documents to train on: .jsonl or .jsonl.gz, settings in a .json beside it");
  CLI::Option* text = command.add_option(
      "--text", flags.text, "files or folders whose sentences' beginnings are the prompts");
  CLI::Option* field =
      command.add_option("--text-field", flags.text_field, "JSON field or Parquet column (text)");
  CLI::Option* tokens =
      command.add_option("--corpus-tokens", flags.tokens, "tokens of prompts and answers in all");
  CLI::Option* prompts =
      command.add_option("--prompt-tokens", flags.prompt_tokens, "tokens of a prompt: least,most")
          ->delimiter(',')
          ->expected(2);
  CLI::Option* sequences =
      command.add_option("--sequences", flags.sequences,
                         "documents side by side in each process (1024 on a GPU, 16 on a CPU)");
  add_rank_options(command, flags.ranks);
  for (CLI::Option* option :
       {text, field, tokens, prompts, sequences, command.get_option("--ranks"),
        command.get_option("--ranks-patience")}) {
    option->needs(corpus);
  }
  prompts->capture_default_str();
  return corpus->needs(text)->needs(tokens);
}

void generate_corpus(const CorpusFlags& flags, const CorpusSampling& asked) {
  check(flags);
  const TeacherTextOptions options = text_options(flags, asked);
  as_rank(flags.ranks, asked.model.device,
          [&](torch::Device device, const std::shared_ptr<Communicator>& ranks) {
            const Quiet others(!ranks->ranks().is_first());
            ModelOptions model = asked.model;
            model.device.device = device.str();
            write_corpus(flags, model, asked.memory, options, *ranks);
          });
}

}  // namespace hypenet
