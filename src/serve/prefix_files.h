// Kept prompts as files of one folder: a piece a file, in the form of sessions.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/folder_lock.h"
#include "engine/prefix_store.h"
#include "serve/session_facts.h"

namespace hypenet {

/// A file a piece, named by its id, whose head names the file that it follows (docs/formats.md). Of
/// one engine. Files of another model or grid are left alone, until the disk is full; files that
/// are none of ours always.
class PrefixFiles : public PrefixStore {
 public:
  /// Makes the folder, for the user alone, where there is none, and removes what earlier runs left
  /// half-written. `tell` gets lines of what failed, on any thread. Throws Error where the folder
  /// cannot be used, and when another process has it.
  PrefixFiles(std::filesystem::path folder, SessionFacts facts,
              std::function<void(const std::string&)> tell);

  std::vector<StoredPiece> list() override;
  int64_t write(const StoredPiece& piece, std::span<const Tensor> pages,
                const Tensor& states) override;
  void read(const std::string& id, std::span<const Tensor> pages, const Tensor& states) override;
  void remove(const std::string& id) override;
  void tell(const std::string& line) override { tell_(line); }

  /// Those of other models or grids.
  size_t others() const { return others_.size(); }

 private:
  std::filesystem::path path_of(const std::string& id) const;
  void make_space(int64_t bytes);

  std::filesystem::path folder_;
  SessionFacts facts_;
  std::function<void(const std::string&)> tell_;
  FolderLock lock_;
  std::vector<std::filesystem::path> others_;  // the oldest last
};

}  // namespace hypenet
