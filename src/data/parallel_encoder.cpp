// A group of documents takes a thread some hundredths of a second: more than starting the thread.
#include "data/parallel_encoder.h"

#include <utility>

namespace hypenet {
namespace {

constexpr size_t kBytesOfGroup = size_t{1} << 18;

}  // namespace

bool ParallelEncoder::add(std::string_view text, const BadDocuments& bad) {
  texts_.push_back({std::string(text), bad});
  bytes_ += text.size();
  if (bytes_ >= kBytesOfGroup) begin_group();
  return is_more_wanted_;
}

void ParallelEncoder::finish() {
  if (!texts_.empty()) begin_group();
  while (!groups_.empty()) pass_on_group();
}

void ParallelEncoder::begin_group() {
  if (groups_.size() == threads_) pass_on_group();
  groups_.push_back(
      std::async(std::launch::async, encode, std::cref(tokenizer_), std::exchange(texts_, {})));
  bytes_ = 0;
}

void ParallelEncoder::pass_on_group() {
  std::vector<EncodedDocument> documents = groups_.front().get();
  groups_.pop_front();
  for (EncodedDocument& document : documents) {
    if (std::exchange(is_more_wanted_, false)) is_more_wanted_ = use_(document);
  }
}

std::vector<EncodedDocument> ParallelEncoder::encode(const Tokenizer& tokenizer,
                                                     const std::vector<Text>& texts) {
  std::vector<EncodedDocument> documents;
  documents.reserve(texts.size());
  for (const Text& text : texts) {
    documents.push_back({tokenizer.encode(text.text), std::ssize(text.text), text.bad});
  }
  return documents;
}

}  // namespace hypenet
