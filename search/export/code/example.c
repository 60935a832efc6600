/* The program: what images show. See the usage below. */
#include <stdio.h>
#include <string.h>

#include "NAME_.h"

enum { PIXELS = NAME_height * NAME_width, NUMBERS = PIXELS * NAME_channels };

static int print_class(const float *logits, int logits_wanted) {
    int best = 0;
    for (int k = 1; k < NAME_classes; k++)
        if (logits[k] > logits[best]) best = k;
    if (!logits_wanted) return printf("%s\n", NAME_class_names[best]) < 0;
    for (int k = 0; k < NAME_classes; k++)
        if (printf("%s%.9g", k ? " " : "", logits[k]) < 0) return 1;
    return printf("\n") < 0;
}

static int of_floats(FILE *in, int logits_wanted) {
    static float image[NUMBERS], logits[NAME_classes];
    int count = 0;
    for (; fread(image, sizeof image, 1, in) == 1; count++) {
        NAME_predict(image, logits);
        if (print_class(logits, logits_wanted)) return 1;
    }
    return count == 0;
}

#ifdef NAME_predict_bytes
static int of_bytes(FILE *in, int logits_wanted) {
    static unsigned char image[NUMBERS];
    static float logits[NAME_classes];
    int count = 0;
    for (; fread(image, sizeof image, 1, in) == 1; count++) {
        NAME_predict_bytes(image, logits);
        if (print_class(logits, logits_wanted)) return 1;
    }
    return count == 0;
}

static int of_pnm(FILE *in, int logits_wanted) {
    char kind = 0;
    int width = 0, height = 0, most = 0;
    if (fscanf(in, "P%c %d %d %d", &kind, &width, &height, &most) != 4 || fgetc(in) == EOF ||
        kind != (NAME_channels == 3 ? '6' : '5') || width != NAME_width || height != NAME_height ||
        most != 255) {
        fprintf(stderr, "want a binary %s of %dx%d, 8 bits, without a comment\n",
                NAME_channels == 3 ? "PPM" : "PGM", NAME_width, NAME_height);
        return 1;
    }
    return of_bytes(in, logits_wanted);
}
#endif

int main(int argc, char **argv) {
    const char *path = NULL;
    char form = 'p';
    int logits_wanted = 0, failed = 1;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--floats"))
            form = 'f';
        else if (!strcmp(argv[i], "--bytes"))
            form = 'b';
        else if (!strcmp(argv[i], "--logits"))
            logits_wanted = 1;
        else
            path = argv[i];
    FILE *in = path ? fopen(path, "rb") : NULL;
    if (!in) {
        fprintf(stderr,
                "usage: %s [--floats | --bytes] [--logits] FILE\n"
                "FILE has one PPM (or PGM), or images of %dx%dx%d one after the other:\n"
                "  --floats  float32, normalised, channel by channel\n"
                "  --bytes   bytes, pixel by pixel\n"
                "Prints the name of the likeliest class of each, or all logits.\n",
                argv[0], NAME_channels, NAME_height, NAME_width);
        return 2;
    }
    if (form == 'f') failed = of_floats(in, logits_wanted);
#ifdef NAME_predict_bytes
    if (form == 'b') failed = of_bytes(in, logits_wanted);
    if (form == 'p') failed = of_pnm(in, logits_wanted);
#endif
    if (failed) fprintf(stderr, "%s: no image\n", path);
    fclose(in);
    return failed;
}
