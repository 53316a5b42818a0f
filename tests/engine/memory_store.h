// A prefix store in memory, which can fail.
#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/random.h"
#include "engine/prefix_store.h"

namespace hypenet {

/// What a disk would have, over the ends of engines.
class MemoryStore : public PrefixStore {
 public:
  std::vector<StoredPiece> list() override {
    const std::scoped_lock lock(mutex_);
    std::vector<StoredPiece> pieces;
    for (const auto& [id, file] : files_) pieces.push_back(file.piece);
    return pieces;
  }

  int64_t write(const StoredPiece& piece, std::span<const Tensor> pages,
                const Tensor& states) override {
    const std::scoped_lock lock(mutex_);
    HYPENET_CHECK(!fails(), "store: a write failed");
    HYPENET_CHECK(std::ssize(pages) == piece.pages, "store: other pages than the piece says");
    File file{.piece = piece};
    file.piece.bytes = std::ssize(piece.tokens) * 4;
    for (const Tensor& page : pages) {
      file.pages.push_back(page.clone());
      file.piece.bytes += page.numel();
    }
    if (states.defined()) file.states = states.clone(), file.piece.bytes += states.numel();
    files_[piece.id] = file;
    ++writes;
    return file.piece.bytes;
  }

  void read(const std::string& id, std::span<const Tensor> pages, const Tensor& states) override {
    const std::scoped_lock lock(mutex_);
    HYPENET_CHECK(!fails() && files_.contains(id), "store: a read failed");
    const File& file = files_.at(id);
    for (size_t i = 0; i < pages.size(); ++i) pages[i].copy_(file.pages.at(i));
    if (states.defined()) states.copy_(file.states);
    ++reads;
  }

  void remove(const std::string& id) override {
    const std::scoped_lock lock(mutex_);
    files_.erase(id);
  }

  void tell(const std::string& line) override {
    const std::scoped_lock lock(mutex_);
    lines_.push_back(line);
  }

  int64_t bytes() const {
    const std::scoped_lock lock(mutex_);
    int64_t sum = 0;
    for (const auto& [id, file] : files_) sum += file.piece.bytes;
    return sum;
  }
  size_t files() const {
    const std::scoped_lock lock(mutex_);
    return files_.size();
  }
  std::vector<std::string> lines() const {
    const std::scoped_lock lock(mutex_);
    return lines_;
  }

  std::atomic<int64_t> writes = 0, reads = 0;
  std::atomic<int64_t> one_fails_of = 0;  // 0: none

 private:
  struct File {
    StoredPiece piece;
    std::vector<Tensor> pages = {};
    Tensor states = {};
  };
  bool fails() {
    const int64_t share = one_fails_of;
    return share > 0 && random_.below(share) == 0;
  }

  mutable std::mutex mutex_;
  std::map<std::string, File> files_;
  std::vector<std::string> lines_;
  Random random_{1};
};

}  // namespace hypenet
