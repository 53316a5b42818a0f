// Where the files of a data set lie under --data-dir, and fields of its records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "eval/task.h"

namespace hypenet {

/// The files of one split of a data set. '*' in a path stands for any characters but '/'.
struct DataFiles {
  std::string dataset = {};              // on the Hugging Face hub: "allenai/ai2_arc"
  std::vector<std::string> hub = {};     // within the data set: "ARC-Easy/test-*.parquet"
  std::vector<std::string> others = {};  // other layouts, within a data folder
  bool has_script = false;               // scripts/eval-data makes it
};

/// What ends the error for a missing file that scripts/eval-data makes.
inline constexpr const char* kDataScript =
    "; or scripts/eval-data DIR makes it, for --data-dir DIR";

/// The paths that a split of a data set of one configuration may have on the hub: Parquet and JSON
/// lines, in a folder of the configuration's name (empty: it has none), in data, in default or in
/// none.
std::vector<std::string> hub_paths(const std::string& configuration, const std::string& split);

/// Those of one configuration among several: in its own folder alone, for what lies elsewhere may
/// be another's.
std::vector<std::string> configuration_paths(const std::string& configuration,
                                             const std::string& split);

/// The files in order of name, from the first of `folders` and the first layout that has any. A
/// data set of the hub is looked for as NAME, OWNER/NAME, the hub's cache (datasets--OWNER--NAME/
/// snapshots/*), and as the folder itself if that is called NAME. Throws Error of one line that
/// names `task`, the files, the folders and the address of the data set, or a file that is missing
/// among those numbered NNNNN-of-NNNNN.
std::vector<std::filesystem::path> find_data(const DataFiles& files,
                                             const std::vector<std::filesystem::path>& folders,
                                             std::string_view task);

/// for_each_record over several files; `limit` records at most, 0: all.
void for_each_record(const std::vector<std::filesystem::path>& files, int64_t limit,
                     const std::function<void(const Json& record)>& use);

/// The field of a record. Throws Error that names it when it is missing or of another kind. An
/// integer may also be written as a string of digits.
const Json& array_field(const Json& record, const char* name);
const Json& object_field(const Json& record, const char* name);
const std::string& text_field(const Json& record, const char* name);
int64_t integer_field(const Json& record, const char* name);
std::vector<std::string> texts_field(const Json& record, const char* name);

/// The first of `names` that the record has, as text; an integer as its digits. Empty if it has
/// none.
std::string id_field(const Json& record, std::initializer_list<const char*> names);

}  // namespace hypenet
