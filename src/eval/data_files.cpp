// Patterns of paths are matched one component at a time, so that no folder is walked in vain.
#include "eval/data_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "data/records.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

bool matches(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return name == pattern;
  if (name.substr(0, star) != pattern.substr(0, star)) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= name.size(); ++at) {
    if (matches(name.substr(at), rest)) return true;
  }
  return false;
}

/// What lies in `folder` under names like `pattern`, sorted.
std::vector<fs::path> entries_like(const fs::path& folder, const std::string& pattern) {
  std::vector<fs::path> found;
  if (pattern.find('*') == pattern.npos) {
    if (fs::exists(folder / pattern)) found.push_back(folder / pattern);
    return found;
  }
  if (!fs::is_directory(folder)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (matches(entry.path().filename().string(), pattern)) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

std::vector<fs::path> files_like(const fs::path& folder, const std::string& pattern) {
  std::vector<fs::path> found = {folder};
  for (const fs::path& part : fs::path(pattern)) {
    std::vector<fs::path> deeper;
    for (const fs::path& place : found) {
      const std::vector<fs::path> more = entries_like(place, part.string());
      deeper.insert(deeper.end(), more.begin(), more.end());
    }
    found = std::move(deeper);
  }
  std::erase_if(found, [](const fs::path& path) { return !fs::is_regular_file(path); });
  return found;
}

/// The folders that a data set of the hub may have under a data folder.
std::vector<fs::path> dataset_folders(const std::string& dataset, const fs::path& folder) {
  const fs::path name = fs::path(dataset).filename(), owner = fs::path(dataset).parent_path();
  std::vector<fs::path> places = {folder / name, folder / dataset};
  const std::string cache = concat("datasets--", owner.string(), "--", name.string());
  for (const fs::path& snapshot : entries_like(folder / cache / "snapshots", "*")) {
    places.push_back(snapshot);
  }
  fs::path itself = fs::absolute(folder).lexically_normal();
  if (!itself.has_filename()) itself = itself.parent_path();  // written with a slash at its end
  if (itself.filename() == name) places.push_back(folder);
  return places;
}

std::vector<fs::path> files_in(const DataFiles& files, const fs::path& folder) {
  for (const fs::path& place : dataset_folders(files.dataset, folder)) {
    for (const std::string& pattern : files.hub) {
      std::vector<fs::path> found = files_like(place, pattern);
      if (!found.empty()) return found;
    }
  }
  for (const std::string& pattern : files.others) {
    std::vector<fs::path> found = files_like(folder, pattern);
    if (!found.empty()) return found;
  }
  return {};
}

/// Throws Error unless the files that the hub numbers, "test-00001-of-00003.parquet", are as many
/// as they say.
void check_numbered(const std::vector<fs::path>& files, std::string_view task) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kDigits = 5;
  const std::string first = files.front().string();
  const size_t of = first.rfind(kOf);
  if (of == first.npos || of < kDigits || of + kOf.size() + kDigits > first.size()) return;
  const std::string before = first.substr(0, of - kDigits);
  const std::string total = first.substr(of, kOf.size() + kDigits);
  const int64_t count = std::atoll(total.c_str() + kOf.size());
  for (int64_t number = 0; number < count; ++number) {
    // Some names go on with a checksum of the file.
    const std::string expected = fmt::format("{}{:05}{}", before, number, total);
    const bool is_there = std::ranges::any_of(
        files, [&](const fs::path& file) { return file.string().starts_with(expected); });
    HYPENET_CHECK(is_there, task, ": expected ", count, " files, found no ", expected, "*");
  }
  HYPENET_CHECK(std::ssize(files) == count, task, ": expected ", count, " files like ", first,
                ", found ", files.size());
}

/// The files, from the first of `folders` that has any.
std::vector<fs::path> find_files(const DataFiles& files, const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    std::vector<fs::path> found = files_in(files, folder);
    if (!found.empty()) return found;
  }
  return {};
}

/// Parquet and JSON lines in each of `folders`.
std::vector<std::string> split_paths(const std::vector<std::string>& folders,
                                     const std::string& split) {
  std::vector<std::string> paths;
  for (const std::string& folder : folders) {
    for (const char* ending : {"-*.parquet", "/*.parquet", ".parquet", ".jsonl", ".jsonl.gz"}) {
      paths.push_back(folder + split + ending);
    }
  }
  return paths;
}

const Json& require_field(const Json& record, const char* name) {
  const auto field = record.find(name);
  if (field == record.end()) throw Error(concat("expected a field ", name, ", found none"));
  return *field;
}

}  // namespace

std::vector<std::string> hub_paths(const std::string& configuration, const std::string& split) {
  std::vector<std::string> folders = {"data/", "default/", ""};
  if (!configuration.empty()) folders.insert(folders.begin(), configuration + "/");
  return split_paths(folders, split);
}

std::vector<std::string> configuration_paths(const std::string& configuration,
                                             const std::string& split) {
  return split_paths({configuration + "/"}, split);
}

std::vector<fs::path> find_data(const DataFiles& files, const std::vector<fs::path>& folders,
                                std::string_view task) {
  std::vector<fs::path> found = find_files(files, folders);
  if (!found.empty()) {
    check_numbered(found, task);
    return found;
  }
  std::string expected = concat(files.dataset, "/", files.hub.front());
  for (const std::string& other : files.others) expected += concat(" or ", other);
  std::string searched;
  for (const fs::path& folder : folders) {
    searched += concat(searched.empty() ? "" : ", ", folder.string());
  }
  if (searched.empty()) searched = "no folder (--data-dir names none)";
  throw Error(concat(task, ": expected ", expected, ", found none in ", searched,
                     "; it can be had from https://huggingface.co/datasets/", files.dataset,
                     files.has_script ? kDataScript : ""));
}

void for_each_record(const std::vector<fs::path>& files, int64_t limit,
                     const std::function<void(const Json& record)>& use) {
  int64_t count = 0;
  for (const fs::path& file : files) {
    for_each_record(file, [&](const Json& record) {
      use(record);
      return ++count != limit;
    });
    if (count == limit && limit > 0) return;
  }
}

const Json& array_field(const Json& record, const char* name) {
  const Json& field = require_field(record, name);
  HYPENET_CHECK(field.is_array(), name, ": expected an array, found ", json_kind(field));
  return field;
}

const Json& object_field(const Json& record, const char* name) {
  const Json& field = require_field(record, name);
  HYPENET_CHECK(field.is_object(), name, ": expected an object, found ", json_kind(field));
  return field;
}

const std::string& text_field(const Json& record, const char* name) {
  const Json& field = require_field(record, name);
  HYPENET_CHECK(field.is_string(), name, ": expected a string, found ", json_kind(field));
  return field.get_ref<const std::string&>();
}

int64_t integer_field(const Json& record, const char* name) {
  const Json& field = require_field(record, name);
  if (field.is_number_integer()) return field.get<int64_t>();
  HYPENET_CHECK(field.is_string(), name, ": expected an integer, found ", json_kind(field));
  const std::string& digits = field.get_ref<const std::string&>();
  int64_t value = 0;
  const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  HYPENET_CHECK(status == std::errc() && end == digits.data() + digits.size(), name,
                ": expected an integer, found \"", digits, "\"");
  return value;
}

std::vector<std::string> texts_field(const Json& record, const char* name) {
  const Json& field = array_field(record, name);
  std::vector<std::string> texts;
  texts.reserve(field.size());
  for (const Json& text : field) {
    HYPENET_CHECK(text.is_string(), name, ": expected strings, found ", json_kind(text));
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::string id_field(const Json& record, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const auto field = record.find(name);
    if (field == record.end()) continue;
    if (field->is_string()) return field->get<std::string>();
    if (field->is_number_integer()) return std::to_string(field->get<int64_t>());
  }
  return {};
}

}  // namespace hypenet
