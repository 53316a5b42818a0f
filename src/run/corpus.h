// The texts of a run: the training text as token shards in its folder, and what is held out of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/token_shard.h"
#include "run/run.h"
#include "text/tokenizer.h"

namespace hypenet {

/// What every recipe says about where text comes from. Without `validation` the held-out text is
/// taken out of `train` alone: a long_train that has the same documents still holds it.
struct DataConfig {
  std::vector<std::string> train,
      validation;                       // files or folders; no validation: the training text's tail
  std::vector<std::string> long_train;  // of a conversion's stage 3, whose rows are long; none:
                                        // train
  std::string text_field = "text";
  std::string on_bad_document = "skip";  // a document that cannot be read: "skip" | "fail"
  int64_t max_tokens = 0;                // of train, likewise of long_train; 0: all
  template <class Visitor>
  void visit(Visitor&& field) {
    field("train", train);
    field("validation", validation);
    field("long_train", long_train);
    field("text_field", text_field);
    field("on_bad_document", on_bad_document);
    field("max_tokens", max_tokens);
  }
};

/// Token ids of training and held-out text.
struct Corpus {
  std::shared_ptr<const TokenDataset> train = {}, long_train = {};  // one where there is no other
  std::vector<int32_t> held_out = {};
};

/// Throws Error for text that is not yet tokenized in `out` and is not there, or that the tokenizer
/// has no end for.
void check_text_files(const DataConfig& data, const Tokenizer& tokenizer,
                      const std::filesystem::path& out);

/// Tokenizes the recipe's text into out/tokens, and that of stage 3, where it is another, into
/// out/tokens-long (once; a finished folder of the same settings is used again). `check_held_out`,
/// which may be empty, gets the held-out text as soon as it is known, and may throw.
Corpus prepare_corpus(const DataConfig& data, const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<void(const std::vector<int32_t>&)>& check_held_out = {});

}  // namespace hypenet
