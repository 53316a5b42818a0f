// A small tree of files as Linux writes them under /proc and /sys.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temporary_folder.h"

namespace hypenet::testing_support {

class SystemFiles {
 public:
  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }

  /// In place of "/".
  std::filesystem::path root() const { return folder_ / ""; }

 private:
  TemporaryFolder folder_;
};

}  // namespace hypenet::testing_support
