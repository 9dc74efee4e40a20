"""The words of the phrasebook: for each English word the one French and the one German word that stands for it."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

Tense = Literal["present", "past"]
Entry = TypeVar("Entry")


class Noun(NamedTuple):
    """A noun with its plurals and its genders."""

    kind: str  # p person, a animal, e food, w writing, t other thing, f what one can stand on, l where one can be in
    en: str
    en_plural: str
    fr: str
    fr_plural: str
    fr_gender: str  # m, f
    de: str
    de_plural: str
    de_gender: str  # m, f, n


class Adjective(NamedTuple):
    """An adjective: which kinds of noun it goes with, its French forms and the German stem that takes the endings."""

    kinds: str
    en: str
    fr: str
    fr_feminine: str
    fr_before_vowel: str  # masculine singular
    fr_precedes: bool
    de: str
    de_stem: str


class FrenchVerb(NamedTuple):
    """A verb: the present for je, il, nous, vous and ils, and the participle."""

    infinitive: str
    present: tuple[str, str, str, str, str]
    with_etre: bool
    participle: str


class GermanVerb(NamedTuple):
    """A verb: the present for ich and er (wir, Sie and sie have the infinitive) without its separable prefix, if any."""

    prefix: str
    infinitive: str
    present: tuple[str, str]
    with_sein: bool
    participle: str


class Verb(NamedTuple):
    """A verb and what may stand with it."""

    objects: str  # kinds of noun; none for an intransitive verb
    takes_clause: bool
    place: str  # "any", "in": with other prepositions it could tell a direction, "-": with all of them
    companions: tuple[
        str, ...
    ]  # "with" or "for" whom; but one waits for somebody in another way than one sings for him
    en: str
    en_third: str
    en_past: str
    fr: FrenchVerb
    de: GermanVerb


class Preposition(NamedTuple):
    """A preposition: the kinds of noun it goes with and the case that it governs in German."""

    en: str
    kinds: str
    fr: str
    de: str
    case: Literal["accusative", "dative"] = "dative"


class Adverb(NamedTuple):
    """A word or expression that never changes."""

    en: str
    fr: str
    de: str


class TimeAdverb(NamedTuple):
    """An expression of time and the tenses that it agrees with."""

    tenses: tuple[str, ...]
    word: Adverb


def _parse(table: str, entry: Callable[..., Entry]) -> tuple[Entry, ...]:
    """An entry for each line, from its cells."""
    return tuple(entry(*(cell.strip() for cell in line.split("|"))) for line in table.strip().splitlines())


def _noun(english: str, french: str, german: str) -> Noun:
    written, kind = english.split()
    singular, _, plural = written.partition("/")
    french_forms, french_gender = french.split()
    french_singular, _, french_plural = french_forms.partition("/")
    german_singular, german_gender, german_plural = german.split()
    return Noun(
        kind,
        singular,
        plural or english_s(singular),
        french_singular,
        french_plural or french_s(french_singular),
        french_gender,
        german_singular,
        german_plural,
        german_gender,
    )


def english_s(word: str) -> str:
    """The plural of a regular noun, which is also how a verb makes its third person."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def french_s(word: str) -> str:
    """The plural of a regular noun, or of an adjective or participle in either gender."""
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith(("eau", "eu")) and word != "bleu":
        return word + "x"
    return word[:-2] + "aux" if word.endswith("al") else word + "s"


def _adjective(english: str, french: str, german: str) -> Adjective:
    written, kinds = english.split()
    first, second = french.split()  # "_" stands for the noun
    masculine, *others = (first if second == "_" else second).split("/")
    feminine = others[0] if others else _french_feminine(masculine)
    predicative, _, stem = german.partition("/")
    return Adjective(
        kinds,
        written,
        masculine,
        feminine,
        (others[1:] or [masculine])[0],
        second == "_",
        predicative,
        stem or predicative,
    )


def _french_feminine(masculine: str) -> str:
    for ending, feminine in (("e", "e"), ("eux", "euse"), ("er", "ère"), ("f", "ve")):
        if masculine.endswith(ending):
            return masculine.removesuffix(ending) + feminine
    return masculine + "e"


def _verb(english: str, objects: str, place: str, companions: str, french: str, german: str) -> Verb:
    base, *past = english.split()
    return Verb(
        objects.strip("+-"),
        "+" in objects,
        place,
        tuple(companions.strip("-").split()),
        base,
        english_s(base),
        past[0] if past else _english_past(base),
        _french_verb(*french.split()),
        _german_verb(*german.split()),
    )


def _english_past(base: str) -> str:
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + ("d" if base.endswith("e") else "ed")


def _french_verb(infinitive: str, *forms: str) -> FrenchVerb:
    if len(forms) < 2:  # regular, "est" where it has être
        stem = infinitive.removesuffix("er")
        before_o = stem + "e" if stem.endswith("g") else stem[:-1] + "ç" if stem.endswith("c") else stem
        present = (stem + "e", stem + "e", before_o + "ons", stem + "ez", stem + "ent")
        return FrenchVerb(infinitive, present, bool(forms), stem + "é")
    il, nous_and_vous, ils, auxiliary, participle = forms
    nous, _, vous = nous_and_vous.partition("/")
    vous = vous or nous.removesuffix("ons") + "ez"
    je = il[:-1].replace("î", "i") + "s" if il.endswith("t") else il + "s" if il.endswith("d") else il
    return FrenchVerb(infinitive, (je, il, nous, vous, ils), auxiliary == "est", participle)


def _german_verb(written: str, present: str, auxiliary: str, participle: str) -> GermanVerb:
    prefix, _, infinitive = written.rpartition("·")
    *ich, er = present.split("/")
    regular = infinitive[:-1] if infinitive.endswith("en") else infinitive[:-1] + "e"
    return GermanVerb(prefix, infinitive, (ich[0] if ich else regular, er), auxiliary == "ist", participle)


def _time(english: str, tenses: str, french: str, german: str) -> TimeAdverb:
    return TimeAdverb(tuple(tenses.split()), Adverb(english, french, german))


# English singular (/plural) and kind | French singular (/plural) and gender | German singular, gender and plural.
# No weak masculine in German (den Jungen), no h aspiré in French (le héros), no plural in English like its singular (sheep).
NOUNS = _parse(
    """
    man/men p | homme m | Mann m Männer
    woman/women p | femme f | Frau f Frauen
    child/children p | enfant m | Kind n Kinder
    girl p | fille f | Mädchen n Mädchen
    baby p | bébé m | Baby n Babys
    mother p | mère f | Mutter f Mütter
    father p | père m | Vater m Väter
    sister p | sœur f | Schwester f Schwestern
    brother p | frère m | Bruder m Brüder
    aunt p | tante f | Tante f Tanten
    uncle p | oncle m | Onkel m Onkel
    grandmother p | grand-mère/grands-mères f | Großmutter f Großmütter
    grandfather p | grand-père/grands-pères m | Großvater m Großväter
    friend p | ami m | Freund m Freunde
    guest p | invité m | Gast m Gäste
    king p | roi m | König m Könige
    queen p | reine f | Königin f Königinnen
    princess p | princesse f | Prinzessin f Prinzessinnen
    knight p | chevalier m | Ritter m Ritter
    witch p | sorcière f | Hexe f Hexen
    thief/thieves p | voleur m | Dieb m Diebe
    teacher p | professeur m | Lehrer m Lehrer
    doctor p | médecin m | Arzt m Ärzte
    nurse p | infirmière f | Krankenschwester f Krankenschwestern
    judge p | juge m | Richter m Richter
    lawyer p | avocat m | Anwalt m Anwälte
    writer p | écrivain m | Schriftsteller m Schriftsteller
    painter p | peintre m | Maler m Maler
    actress p | actrice f | Schauspielerin f Schauspielerinnen
    singer p | chanteuse f | Sängerin f Sängerinnen
    musician p | musicien m | Musiker m Musiker
    baker p | boulanger m | Bäcker m Bäcker
    gardener p | jardinier m | Gärtner m Gärtner
    farmer p | agriculteur m | Landwirt m Landwirte
    fisherman/fishermen p | pêcheur m | Fischer m Fischer
    hunter p | chasseur m | Jäger m Jäger
    waiter p | serveur m | Kellner m Kellner
    mechanic p | mécanicien m | Mechaniker m Mechaniker
    engineer p | ingénieur m | Ingenieur m Ingenieure
    mayor p | maire m | Bürgermeister m Bürgermeister
    merchant p | marchand m | Händler m Händler
    saleswoman/saleswomen p | vendeuse f | Verkäuferin f Verkäuferinnen
    spy p | espion m | Spion m Spione
    enemy p | ennemi m | Feind m Feinde
    widow p | veuve f | Witwe f Witwen
    dog a | chien m | Hund m Hunde
    cat a | chat m | Katze f Katzen
    horse a | cheval m | Pferd n Pferde
    cow a | vache f | Kuh f Kühe
    pig a | cochon m | Schwein n Schweine
    goat a | chèvre f | Ziege f Ziegen
    bird a | oiseau m | Vogel m Vögel
    mouse/mice a | souris f | Maus f Mäuse
    rabbit a | lapin m | Kaninchen n Kaninchen
    fox a | renard m | Fuchs m Füchse
    wolf/wolves a | loup m | Wolf m Wölfe
    tiger a | tigre m | Tiger m Tiger
    snake a | serpent m | Schlange f Schlangen
    frog a | grenouille f | Frosch m Frösche
    duck a | canard m | Ente f Enten
    goose/geese a | oie f | Gans f Gänse
    eagle a | aigle m | Adler m Adler
    owl a | chouette f | Eule f Eulen
    donkey a | âne m | Esel m Esel
    camel a | chameau m | Kamel n Kamele
    squirrel a | écureuil m | Eichhörnchen n Eichhörnchen
    turtle a | tortue f | Schildkröte f Schildkröten
    spider a | araignée f | Spinne f Spinnen
    crocodile a | crocodile m | Krokodil n Krokodile
    giraffe a | girafe f | Giraffe f Giraffen
    lamb a | agneau m | Lamm n Lämmer
    apple e | pomme f | Apfel m Äpfel
    pear e | poire f | Birne f Birnen
    lemon e | citron m | Zitrone f Zitronen
    cherry e | cerise f | Kirsche f Kirschen
    tomato/tomatoes e | tomate f | Tomate f Tomaten
    carrot e | carotte f | Karotte f Karotten
    onion e | oignon m | Zwiebel f Zwiebeln
    egg e | œuf m | Ei n Eier
    cake e | gâteau m | Kuchen m Kuchen
    soup e | soupe f | Suppe f Suppen
    book w | livre m | Buch n Bücher
    letter w | lettre f | Brief m Briefe
    newspaper w | journal m | Zeitung f Zeitungen
    poem w | poème m | Gedicht n Gedichte
    song w | chanson f | Lied n Lieder
    story w | histoire f | Geschichte f Geschichten
    novel w | roman m | Roman m Romane
    report w | rapport m | Bericht m Berichte
    list w | liste f | Liste f Listen
    bag t | sac m | Tasche f Taschen
    suitcase t | valise f | Koffer m Koffer
    box t | boîte f | Kiste f Kisten
    bottle t | bouteille f | Flasche f Flaschen
    glass t | verre m | Glas n Gläser
    plate t | assiette f | Teller m Teller
    knife/knives t | couteau m | Messer n Messer
    spoon t | cuillère f | Löffel m Löffel
    key t | clé f | Schlüssel m Schlüssel
    door t | porte f | Tür f Türen
    window t | fenêtre f | Fenster n Fenster
    lamp t | lampe f | Lampe f Lampen
    clock t | horloge f | Uhr f Uhren
    picture t | image f | Bild n Bilder
    umbrella t | parapluie m | Regenschirm m Regenschirme
    hat t | chapeau m | Hut m Hüte
    coat t | manteau m | Mantel m Mäntel
    shirt t | chemise f | Hemd n Hemden
    shoe t | chaussure f | Schuh m Schuhe
    ring t | bague f | Ring m Ringe
    flower t | fleur f | Blume f Blumen
    doll t | poupée f | Puppe f Puppen
    guitar t | guitare f | Gitarre f Gitarren
    violin t | violon m | Geige f Geigen
    drum t | tambour m | Trommel f Trommeln
    bicycle t | vélo m | Fahrrad n Fahrräder
    car t | voiture f | Auto n Autos
    boat t | bateau m | Boot n Boote
    machine t | machine f | Maschine f Maschinen
    computer t | ordinateur m | Computer m Computer
    mirror t | miroir m | Spiegel m Spiegel
    pillow t | oreiller m | Kissen n Kissen
    candle t | bougie f | Kerze f Kerzen
    basket t | panier m | Korb m Körbe
    ladder t | échelle f | Leiter f Leitern
    hammer t | marteau m | Hammer m Hämmer
    needle t | aiguille f | Nadel f Nadeln
    stone t | pierre f | Stein m Steine
    flag t | drapeau m | Fahne f Fahnen
    sword t | épée f | Schwert n Schwerter
    crown t | couronne f | Krone f Kronen
    tool t | outil m | Werkzeug n Werkzeuge
    table f | table f | Tisch m Tische
    chair f | chaise f | Stuhl m Stühle
    bed f | lit m | Bett n Betten
    bench f | banc m | Bank f Bänke
    sofa f | canapé m | Sofa n Sofas
    cupboard f | armoire f | Schrank m Schränke
    carpet f | tapis m | Teppich m Teppiche
    roof f | toit m | Dach n Dächer
    bridge f | pont m | Brücke f Brücken
    house l | maison f | Haus n Häuser
    garden l | jardin m | Garten m Gärten
    kitchen l | cuisine f | Küche f Küchen
    cellar l | cave f | Keller m Keller
    garage l | garage m | Garage f Garagen
    school l | école f | Schule f Schulen
    church l | église f | Kirche f Kirchen
    hotel l | hôtel m | Hotel n Hotels
    hospital l | hôpital m | Krankenhaus n Krankenhäuser
    station l | gare f | Bahnhof m Bahnhöfe
    factory l | usine f | Fabrik f Fabriken
    library l | bibliothèque f | Bibliothek f Bibliotheken
    theatre l | théâtre m | Theater n Theater
    museum l | musée m | Museum n Museen
    restaurant l | restaurant m | Restaurant n Restaurants
    bakery l | boulangerie f | Bäckerei f Bäckereien
    castle l | château m | Schloss n Schlösser
    tower l | tour f | Turm m Türme
    park l | parc m | Park m Parks
    village l | village m | Dorf n Dörfer
    town l | ville f | Stadt f Städte
    forest l | forêt f | Wald m Wälder
    cave l | grotte f | Höhle f Höhlen
    tent l | tente f | Zelt n Zelte
    """,
    _noun,
)

# English and the kinds of noun | French, before or after the noun (_), masculine (/feminine (/before a vowel)) | German
# (/stem with endings).
ADJECTIVES = _parse(
    """
    small paetfl | petit _ | klein
    big aetfl | grand _ | groß
    beautiful pawtfl | beau/belle/bel _ | schön
    new pwtfl | nouveau/nouvelle/nouvel _ | neu
    old pawtfl | vieux/vieille/vieil _ | alt
    young pa | jeune _ | jung
    good pewt | bon/bonne _ | gut
    bad pew | mauvais _ | schlecht
    pretty pawtfl | joli _ | hübsch
    long wtf | long/longue _ | lang
    fat a | gros/grosse _ | dick
    red aetfl | _ rouge | rot
    blue atfl | _ bleu | blau
    green aetfl | _ vert | grün
    white aetfl | _ blanc/blanche | weiß
    black aetfl | _ noir | schwarz
    grey atfl | _ gris | grau
    yellow etfl | _ jaune | gelb
    brown aetfl | _ brun | braun
    tired pa | _ fatigué | müde/müd
    happy pa | _ heureux | glücklich
    sad paw | _ triste | traurig
    brave pa | _ courageux | mutig
    clever pa | _ intelligent | klug
    strong pa | _ fort | stark
    weak pa | _ faible | schwach
    rich p | _ riche | reich
    poor p | _ pauvre | arm
    nervous pa | _ nerveux | nervös
    lazy pa | _ paresseux | faul
    hungry pa | _ affamé | hungrig
    sick pa | _ malade | krank
    kind p | _ gentil/gentille | nett
    polite p | _ poli | höflich
    famous pawl | _ célèbre | berühmt
    curious pa | _ curieux | neugierig
    jealous pa | _ jaloux/jalouse | eifersüchtig
    shy pa | _ timide | schüchtern
    furious pa | _ furieux | wütend
    wild a | _ sauvage | wild
    faithful pa | _ fidèle | treu
    cruel paw | _ cruel/cruelle | grausam
    modest p | _ modeste | bescheiden
    thin pa | _ mince | dünn
    elegant patfl | _ élégant | elegant
    ugly awtfl | _ laid | hässlich
    strange pawtfl | _ étrange | seltsam
    funny pw | _ drôle | lustig
    dangerous patl | _ dangereux | gefährlich
    expensive ewtfl | _ cher | teuer/teur
    heavy etf | _ lourd | schwer
    light etf | _ léger | leicht
    empty tl | _ vide | leer
    full tl | _ plein | voll
    dirty aetfl | _ sale | schmutzig
    clean etfl | _ propre | sauber
    dark tl | _ sombre | dunkel/dunkl
    round etf | _ rond | rund
    wide tf | _ large | breit
    wet patf | _ mouillé | nass
    hot etl | _ chaud | heiß
    cold etfl | _ froid | kalt
    hard etf | _ dur | hart
    useless wtf | _ inutile | nutzlos
    modern wtfl | _ moderne | modern
    precious wtf | _ précieux | wertvoll
    comfortable fl | _ confortable | bequem
    important pwtl | _ important | wichtig
    simple wtf | _ simple | einfach
    secret wtl | _ secret/secrète | geheim
    mysterious pawtfl | _ mystérieux | geheimnisvoll
    """,
    _adjective,
)

# English base (and past) | kinds of noun for the object, + where it takes a clause with "that" | place | companions | French
# (il, nous, ils and participle) | German, er and participle. No verb with one form for past and present (put, read).
VERBS = _parse(
    """
    see saw | paewtfl | any | - | voir voit voyons voient a vu | sehen sieht hat gesehen
    find found | paewtfl | any | with for | trouver | finden findet hat gefunden
    notice | paewtfl+ | any | - | remarquer | bemerken bemerkt hat bemerkt
    draw drew | paewtfl | any | with for | dessiner | zeichnen zeichnet hat gezeichnet
    paint | patfl | any | with for | peindre peint peignons peignent a peint | malen malt hat gemalt
    describe | patfl | any | with for | décrire décrit décrivons décrivent a décrit | beschreiben beschreibt hat beschrieben
    photograph | patfl | any | with for | photographier | fotografieren fotografiert hat fotografiert
    buy bought | aewtfl | any | with for | acheter achète achetons achètent a acheté | kaufen kauft hat gekauft
    sell sold | aewtfl | any | with for | vendre vend vendons vendent a vendu | verkaufen verkauft hat verkauft
    carry | aet | in | with for | porter | tragen trägt hat getragen
    hear heard | pa | any | - | entendre entend entendons entendent a entendu | hören hört hat gehört
    call | pa | any | - | appeler appelle appelons appellent a appelé | rufen ruft hat gerufen
    chase | pa | in | with | poursuivre poursuit poursuivons poursuivent a poursuivi | verfolgen verfolgt hat verfolgt
    visit | l | - | with | visiter | besuchen besucht hat besucht
    meet met | p | any | with | rencontrer | treffen trifft hat getroffen
    greet | p | any | - | saluer | grüßen grüßt hat gegrüßt
    honour | p | any | - | honorer | ehren ehrt hat geehrt
    invite | p | - | - | inviter | ein·laden lädt hat eingeladen
    recognize | pa | any | - | reconnaître reconnaît reconnaissons reconnaissent a reconnu | erkennen erkennt hat erkannt
    wash | aetf | any | with for | laver | waschen wäscht hat gewaschen
    repair | tf | any | with for | réparer | reparieren repariert hat repariert
    break broke | t | any | - | casser | zerbrechen zerbricht hat zerbrochen
    destroy | wtfl | - | with | détruire détruit détruisons détruisent a détruit | zerstören zerstört hat zerstört
    build built | fl | - | with for | construire construit construisons construisent a construit | bauen baut hat gebaut
    open | l | - | with for | ouvrir ouvre ouvrons ouvrent a ouvert | öffnen öffnet hat geöffnet
    eat ate | e | any | with | manger | essen isst hat gegessen
    cook | e | any | with for | cuire cuit cuisons cuisent a cuit | kochen kocht hat gekocht
    taste | e | any | with | goûter | probieren probiert hat probiert
    prepare | e | any | with for | préparer | vor·bereiten bereitet hat vorbereitet
    bring brought | aewt | - | for | apporter | bringen bringt hat gebracht
    send sent | wt | - | - | envoyer envoie envoyons envoient a envoyé | schicken schickt hat geschickt
    receive | wt | any | - | recevoir reçoit recevons reçoivent a reçu | bekommen bekommt hat bekommen
    lose lost | awt | any | - | perdre perd perdons perdent a perdu | verlieren verliert hat verloren
    steal stole | aewt | any | with for | voler | stehlen stiehlt hat gestohlen
    hide hid | aewt | any | with for | cacher | verstecken versteckt hat versteckt
    forget forgot | pewt | any | - | oublier | vergessen vergisst hat vergessen
    seek sought | pawtl | any | with for | chercher | suchen sucht hat gesucht
    choose chose | aewtfl | - | with for | choisir choisit choisissons choisissent a choisi | wählen wählt hat gewählt
    touch | awtf | any | - | toucher | berühren berührt hat berührt
    throw threw | et | - | - | lancer | werfen wirft hat geworfen
    pull | atf | - | with | tirer | ziehen zieht hat gezogen
    push | patf | - | with | pousser | schieben schiebt hat geschoben
    lift | atf | - | with | soulever soulève soulevons soulèvent a soulevé | heben hebt hat gehoben
    catch caught | a | any | with for | attraper | fangen fängt hat gefangen
    protect | pawtfl | - | - | protéger protège protégeons/protégez protègent a protégé | beschützen beschützt hat beschützt
    save | pa | - | - | sauver | retten rettet hat gerettet
    observe | pa | any | with | observer | beobachten beobachtet hat beobachtet
    surprise | pa | any | - | surprendre surprend surprenons surprennent a surpris | überraschen überrascht hat überrascht
    wake woke | pa | any | - | réveiller | wecken weckt hat geweckt
    feed fed | a | any | - | nourrir nourrit nourrissons nourrissent a nourri | füttern füttert hat gefüttert
    imitate | pa | any | - | imiter | nach·ahmen ahmt hat nachgeahmt
    heal | pa | any | - | guérir guérit guérissons guérissent a guéri | heilen heilt hat geheilt
    bite bit | pa | any | - | mordre mord mordons mordent a mordu | beißen beißt hat gebissen
    decorate | fl | - | with for | décorer | schmücken schmückt hat geschmückt
    write wrote | w | any | with for | écrire écrit écrivons écrivent a écrit | schreiben schreibt hat geschrieben
    translate | w | any | with for | traduire traduit traduisons traduisent a traduit | übersetzen übersetzt hat übersetzt
    print | w | any | with for | imprimer | drucken druckt hat gedruckt
    repeat | w+ | - | - | répéter répète répétons répètent a répété | wiederholen wiederholt hat wiederholt
    explain | w+ | any | with for | expliquer | erklären erklärt hat erklärt
    know knew | + | - | - | savoir sait savons savent a su | wissen weiß/weiß hat gewusst
    say said | + | - | - | dire dit disons/dites disent a dit | sagen sagt hat gesagt
    think thought | + | - | - | penser | denken denkt hat gedacht
    believe | + | - | - | croire croit croyons croient a cru | glauben glaubt hat geglaubt
    hope | + | - | - | espérer espère espérons espèrent a espéré | hoffen hofft hat gehofft
    claim | + | - | - | affirmer | behaupten behauptet hat behauptet
    suppose | + | - | - | supposer | vermuten vermutet hat vermutet
    sleep slept | - | any | - | dormir dort dormons dorment a dormi | schlafen schläft hat geschlafen
    laugh | - | any | with | rire rit rions rient a ri | lachen lacht hat gelacht
    cry | - | any | - | pleurer | weinen weint hat geweint
    shout | - | any | - | crier | schreien schreit hat geschrien
    sing sang | - | any | with for | chanter | singen singt hat gesungen
    dance | - | any | with for | danser | tanzen tanzt hat getanzt
    work | - | any | with for | travailler | arbeiten arbeitet hat gearbeitet
    play | - | any | with for | jouer | spielen spielt hat gespielt
    wait | - | any | with | attendre attend attendons attendent a attendu | warten wartet hat gewartet
    talk | - | any | with | parler | sprechen spricht hat gesprochen
    pray | - | any | with for | prier | beten betet hat gebetet
    tremble | - | any | - | trembler | zittern zittert hat gezittert
    dream dreamed | - | any | - | rêver | träumen träumt hat geträumt
    cough | - | any | with | tousser | husten hustet hat gehustet
    snore | - | any | - | ronfler | schnarchen schnarcht hat geschnarcht
    whistle | - | any | - | siffler | pfeifen pfeift hat gepfiffen
    sneeze | - | any | - | éternuer | niesen niest hat geniest
    yawn | - | any | - | bâiller | gähnen gähnt hat gegähnt
    lie lied | - | any | for | mentir ment mentons mentent a menti | lügen lügt hat gelogen
    suffer | - | any | with | souffrir souffre souffrons souffrent a souffert | leiden leidet hat gelitten
    swim swam | - | any | with | nager | schwimmen schwimmt ist geschwommen
    run ran | - | in | with | courir court courons courent a couru | laufen läuft ist gelaufen
    walk | - | in | with | marcher | gehen geht ist gegangen
    jump | - | - | with | sauter | springen springt ist gesprungen
    climb | - | - | with | grimper | klettern klettert ist geklettert
    travel travelled | - | - | with | voyager | reisen reist ist gereist
    stay | - | any | with | rester est | bleiben bleibt ist geblieben
    arrive | - | in | with | arriver est | an·kommen kommt ist angekommen
    leave left | - | - | with | partir part partons partent est parti | ab·reisen reist ist abgereist
    return | - | - | with | revenir revient revenons reviennent est revenu | zurück·kommen kommt ist zurückgekommen
    fall fell | - | - | - | tomber est | fallen fällt ist gefallen
    """,
    _verb,
)

# English | kinds of noun | French | German, with the dative: a place, never a direction.
PREPOSITIONS = _parse(
    """
    in | l | dans | in
    on | f | sur | auf
    under | f | sous | unter
    behind | fl | derrière | hinter
    in front of | fl | devant | vor
    beside | fl | à côté de | neben
    """,
    Preposition,
)
COMPANIONS = {
    "with": Preposition("with", "pa", "avec", "mit"),
    "for": Preposition("for", "pa", "pour", "für", "accusative"),
}

PLACE_ADVERBS = _parse(
    """
    here | ici | hier
    there | là-bas | dort
    outside | dehors | draußen
    upstairs | en haut | oben
    """,
    Adverb,
)
MANNERS = _parse(
    """
    slowly | lentement | langsam
    quickly | rapidement | schnell
    quietly | silencieusement | leise
    carefully | prudemment | vorsichtig
    patiently | patiemment | geduldig
    calmly | calmement | ruhig
    proudly | fièrement | stolz
    secretly | secrètement | heimlich
    bravely | courageusement | tapfer
    """,
    Adverb,
)
NEVER = Adverb("never", "jamais", "nie")
FREQUENCIES = (
    *_parse(
        """
        always | toujours | immer
        often | souvent | oft
        rarely | rarement | selten
        sometimes | parfois | manchmal
        """,
        Adverb,
    ),
    NEVER,
)
TIMES = _parse(
    """
    yesterday | past | hier | gestern
    recently | past | récemment | kürzlich
    yesterday evening | past | hier soir | gestern Abend
    this morning | past | ce matin | heute Morgen
    last week | past | la semaine dernière | letzte Woche
    last month | past | le mois dernier | letzten Monat
    last year | past | l'année dernière | letztes Jahr
    on Monday | past | lundi | am Montag
    on Tuesday | past | mardi | am Dienstag
    on Wednesday | past | mercredi | am Mittwoch
    on Thursday | past | jeudi | am Donnerstag
    on Friday | past | vendredi | am Freitag
    on Saturday | past | samedi | am Samstag
    on Sunday | past | dimanche | am Sonntag
    now | present | maintenant | jetzt
    today | present past | aujourd'hui | heute
    at night | present past | la nuit | nachts
    in spring | present past | au printemps | im Frühling
    in summer | present past | en été | im Sommer
    in autumn | present past | en automne | im Herbst
    in winter | present past | en hiver | im Winter
    """,
    _time,
)
VERY = Adverb("very", "très", "sehr")
TOO = Adverb("too", "trop", "zu")
