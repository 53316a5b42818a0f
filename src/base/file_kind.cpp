// Kinds of files, by their first bytes.
#include "base/file_kind.h"

#include <algorithm>
#include <array>
#include <fstream>

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr size_t kBeginning = 512, kTarOffset = 257;

struct Magic {
  std::string_view bytes, kind;
};

using std::string_view_literals::operator""sv;

constexpr auto kMagics = std::to_array<Magic>({
    {"version https://git-lfs"sv, "a Git LFS pointer (run git lfs pull)"},
    {"version https://hawser"sv, "a Git LFS pointer (run git lfs pull)"},
    {"/annex/objects/"sv, "a git-annex pointer (run git annex get)"},
    {"\x1F\x8B"sv, "gzip data"},
    {"PK\x03\x04"sv, "a zip archive (PyTorch's .bin and .pt are such)"},
    {"PK\x05\x06"sv, "an empty zip archive"},
    {"\x80\x02"sv, "a Python pickle (PyTorch's old .bin and .pt are such)"},
    {"\x80\x03"sv, "a Python pickle"},
    {"\x80\x04"sv, "a Python pickle"},
    {"\x80\x05"sv, "a Python pickle"},
    {"GGUF"sv, "a GGUF file (llama.cpp's)"},
    {"ggml"sv, "a GGML file"},
    {"ggjt"sv, "a GGML file"},
    {"PAR1"sv, "a Parquet file"},
    {"PARE"sv, "an encrypted Parquet file"},
    {"ARROW1"sv, "an Arrow file"},
    {"ORC"sv, "an ORC file"},
    {"Obj\x01"sv, "an Avro file"},
    {"\x89HDF"sv, "an HDF5 file"},
    {"\x93NUMPY"sv, "a NumPy file"},
    {"SQLite format 3"sv, "an SQLite database"},
    {"\x28\xB5\x2F\xFD"sv, "zstd data"},
    {"\xFD"
     "7zXZ"sv,
     "xz data"},
    {"BZh"sv, "bzip2 data"},
    {"7z\xBC\xAF"sv, "a 7z archive"},
    {"\x04\x22\x4D\x18"sv, "LZ4 data"},
    {"%PDF-"sv, "a PDF document"},
    {"\x7F"
     "ELF"sv,
     "a program"},
    {"\x89PNG"sv, "a PNG image"},
    {"\xFF\xD8\xFF"sv, "a JPEG image"},
    {"\xFF\xFE"sv, "UTF-16 text"},
    {"\xFE\xFF"sv, "UTF-16 text"},
    {"HYPTOKS1"sv, "a token shard"},
});

bool begins_without_case(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char expected, char found) {
           return expected == (found >= 'A' && found <= 'Z' ? found - 'A' + 'a' : found);
         });
}

/// A header's length, small and followed by the header itself.
bool is_safetensors(std::string_view text) {
  return text.size() > 8 && text[8] == '{' && text.substr(4, 4) == "\0\0\0\0"sv;
}

std::string kind_of_text(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  for (const std::string_view tag : {"<!doctype html", "<html", "<head", "<body"}) {
    if (begins_without_case(text, tag)) return "an HTML page (an error page in place of the file?)";
  }
  if (text.starts_with("<?xml") || text.starts_with("<Error>")) {
    return "an XML page (an error page in place of the file?)";
  }
  if (text.starts_with('{') || text.starts_with('[')) return "JSON";
  return "";
}

std::string read_beginning(const fs::path& path) {
  std::string beginning(kBeginning, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(beginning.data(), static_cast<std::streamsize>(beginning.size()));
  beginning.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return beginning;
}

}  // namespace

std::string kind_of_bytes(std::string_view beginning) {
  for (const Magic& magic : kMagics) {
    if (beginning.starts_with(magic.bytes)) return std::string(magic.kind);
  }
  if (is_safetensors(beginning)) return "a safetensors file";
  if (beginning.size() > kTarOffset && beginning.substr(kTarOffset).starts_with("ustar")) {
    return "a tar archive";
  }
  if (beginning.size() >= 16 && beginning.find_first_not_of('\0') == beginning.npos) {
    return "zero bytes (an incomplete download?)";
  }
  return kind_of_text(beginning);
}

std::string kind_of_file(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::is_directory(status)) return "a folder";
  if (!fs::exists(status)) {
    if (!fs::is_symlink(fs::symlink_status(path, ignored))) return "";
    return concat("a link to a missing file (", fs::read_symlink(path, ignored).string(), ")");
  }
  if (fs::is_other(status)) return fs::is_fifo(status) ? "a pipe" : "a device";
  if (fs::file_size(path, ignored) == 0) return "an empty file";
  return kind_of_bytes(read_beginning(path));
}

void check_is_no_stream(const fs::path& path) {
  std::error_code ignored;
  HYPENET_CHECK(!fs::is_other(fs::status(path, ignored)), path.string(),
                ": expected a file, found ", kind_of_file(path));
}

void check_file_kind(const fs::path& path, std::string_view wanted, std::string_view own) {
  const std::string kind = kind_of_file(path);
  HYPENET_CHECK(kind.empty() || kind.starts_with(own), path.string(), ": expected ", wanted,
                ", found ", kind);
}

}  // namespace hypenet
