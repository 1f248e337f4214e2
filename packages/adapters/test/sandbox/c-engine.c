/* Uses files the way C programs do; each surprise has an exit code of its own. */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  (void)argv;
  DIR *folder = opendir("/inputs");
  FILE *out = fopen("/outputs/draft", "w");
  if (!folder || !out || argc != 1) return 2;
  struct dirent *entry;
  while ((entry = readdir(folder))) {
    if (entry->d_name[0] == '.') continue;
    char path[300], line[100] = "";
    struct stat stat_of;
    snprintf(path, sizeof path, "/inputs/%s", entry->d_name);
    FILE *input = fopen(path, "r");
    if (!input || stat(path, &stat_of)) return 3;
    fgets(line, sizeof line, input);
    fseek(input, 0, SEEK_END);
    fprintf(out, "%s %lld %ld %s", entry->d_name, (long long)stat_of.st_size, ftell(input), line);
    fclose(input);
  }
  time_t before = time(0);
  sleep(5);
  fprintf(out, "slept %ld s\n", (long)(time(0) - before));
  fclose(out);
  out = fopen("/outputs/draft", "a");
  fprintf(out, "appended\n");
  fclose(out);
  if (rename("/outputs/draft", "/outputs/list")) return 4;
  fclose(fopen("/outputs/spare", "w"));
  if (remove("/outputs/spare")) return 5;
  if (fopen("/etc/passwd", "r") || fopen("/inputs/a", "w") || fopen("/outputs/sub/x", "w")) return 6;
  if (!rename("/outputs/list", "/inputs/list") || !rename("/inputs/a", "/outputs/a")) return 7;
  printf("done\n");
  return 0;
}
