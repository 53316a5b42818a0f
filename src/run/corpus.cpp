// A text is tokenized once; a file beside its folder says of what.
#include "run/corpus.h"

#include <algorithm>
#include <chrono>

#include "base/files.h"
#include "base/folder_writer.h"
#include "data/documents.h"
#include "data/held_out.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

/// The share of the training text that stands in where a recipe names no validation.
constexpr int64_t kHeldOutShare = 50;

auto note_to(const RunOptions& options) {
  return [&options](const std::string& text) { note(options, text); };
}

void tokenize_training_text(const fs::path& folder, const DataConfig& data,
                            const Tokenizer& tokenizer, const RunOptions& options) {
  TokenizeOptions tokenize;
  tokenize.text_field = data.text_field;
  tokenize.max_tokens = data.max_tokens;
  tokenize.on_bad = parse_on_bad_document(data.on_bad_document, "data: on_bad_document");
  const auto began = std::chrono::steady_clock::now();
  const auto report = [&](const TokenizeProgress& progress) {
    check_stop(options);
    // A small text is done before anybody asks how far it is.
    if (std::chrono::steady_clock::now() - began < std::chrono::seconds(1)) return;
    show_progress(options, "tokenize", progress.tokens, 0);
  };
  const auto tell = note_to(options);
  const TokenizeProgress done =
      tokenize_corpus(document_files({data.train.begin(), data.train.end()}, tell), tokenizer,
                      folder, tokenize, report);
  tell(concat("tokenize: done, ", done.tokens, " tokens of ", done.documents, " documents"));
  if (done.bad.bad() > 0) tell(done.bad.summary());
}

/// Settings of a text as they are written today: keys that came after it was tokenized have their
/// defaults.
Json completed_data(const Json& settings, const fs::path& place) {
  DataConfig data;
  read_fields(settings, place.string(), data);
  Json completed = write_fields(data);
  completed.erase("long_train");
  return completed;
}

/// The tokens of data.train in out/<name>, made now or before.
std::shared_ptr<TokenDataset> prepare_text(const std::string& name, const DataConfig& data,
                                           const Tokenizer& tokenizer, const RunOptions& options) {
  const fs::path folder = options.out / name;
  const fs::path record = options.out / (name + ".json");  // what the folder was made of
  Json settings = write_fields(data);
  settings.erase("long_train");
  if (fs::exists(folder / "dataset.json")) {
    HYPENET_CHECK(fs::exists(record), folder.string(),
                  ": expected no folder, or one that a run made, found one without ",
                  record.string());
    Json found = completed_data(read_json(record), record);
    make_absolute(found, {"train", "validation"});
    check_same_settings(folder, settings, found);
  } else {
    check_folder(folder, dataset_kind());
    write_json(record, settings);
    tokenize_training_text(folder, data, tokenizer, options);
  }
  auto text = std::make_shared<TokenDataset>(folder);
  check_tokenizer(*text, tokenizer, note_to(options));
  return text;
}

}  // namespace

void check_text_files(const DataConfig& data, const Tokenizer& tokenizer, const fs::path& out) {
  const auto check = [](const std::vector<std::string>& paths) {
    const auto files = document_files({paths.begin(), paths.end()});
    HYPENET_CHECK(paths.empty() || !files.empty(), paths.front(),
                  ": expected files of text, found none");
  };
  const auto are_shards = [](const fs::path& folder) {
    return fs::exists(folder / "dataset.json");
  };
  for (const auto& [folder, paths] :
       {std::pair(out / "tokens", &data.train), std::pair(out / "tokens-long", &data.long_train)}) {
    if (are_shards(folder)) continue;
    document_end(tokenizer, folder);
    check(*paths);
  }
  if (data.validation.size() != 1 || !are_shards(data.validation.front())) check(data.validation);
}

Corpus prepare_corpus(const DataConfig& data, const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<void(const std::vector<int32_t>&)>& check_held_out) {
  Corpus corpus;
  const auto hold = [&](std::vector<int32_t> held_out) {
    corpus.held_out = std::move(held_out);
    if (check_held_out) check_held_out(corpus.held_out);
  };
  if (!data.validation.empty())
    hold(read_held_out(data.validation, data.text_field, tokenizer, note_to(options),
                       parse_on_bad_document(data.on_bad_document, "data: on_bad_document")));
  const auto train = prepare_text("tokens", data, tokenizer, options);
  if (data.validation.empty())
    hold(train->hold_out(std::min(kHeldOutTokens, train->tokens() / kHeldOutShare)));
  corpus.train = corpus.long_train = train;
  if (!data.long_train.empty()) {
    DataConfig of_stage_3 = data;
    of_stage_3.train = data.long_train;
    corpus.long_train = prepare_text("tokens-long", of_stage_3, tokenizer, options);
  }
  return corpus;
}

}  // namespace hypenet
