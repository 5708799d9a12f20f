/* abstain.h: what an abstention says. */
#ifndef API_ABSTAIN_H
#define API_ABSTAIN_H

/* "The documents do not answer this question." in the language with this code (language.h); English for one it lacks. Static. */
const char *abstain_text(const char *code);

#endif
